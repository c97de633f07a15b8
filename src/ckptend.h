/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a record of checkpoints.log that does not hold ends. Ids hold any bytes, also such as look like records: what is inside a bad record must not be taken for checkpoints, and
 * what is behind it must be found. Where the two can't be told apart the end is not known, and all that holds from there on is taken.
 *
 * Two things in a record tell of its end: its length ("claimed"), and the lengths within the payload, of id and streams ("walked"). The first of these counts:
 *
 *	proven		the checksum in the header is that of what is up to one of them: only the other or the magic is damaged.
 *	agreed		both are the same.
 *	led to		at the walked or the claimed end (the nearer one first) a record begins, whether it holds or not, or the file ends.
 *	into zeros	from the claimed end on there are only zeros: this is the record at which they begin.
 *	cut short	both are beyond the end of the file, which then is the end. Not for a length above 1 MiB: one that is garbage mostly is large, and must not cost what follows.
 *
 * All but the proven are refuted by a record inside that holds and can't be part of an id: one that reaches the end or beyond it, to within the 10 bytes that follow any id; or, where the id's
 * length has been relied upon (all but the claimed end that is led to), one that is not inside that id. One that is cut short has nothing behind its id: there it is one that reaches just the file's end
 * or the beginning of another record, and is not so near that the record of version 2 would have less than the shortest payload.
 *
 * So a record that is damaged in one field, next to others that hold, are damaged in one field, or are torn, costs itself and brings none up. What can't be told, or only by chance:
 *
 *	two fields damaged, both lengths among them: there is no end, and records in its id come up.
 *	cut short just behind a record in its id, or behind one that is followed by the beginning of another: it comes up.
 *	a claimed length that is damaged together with another field, and leads by chance to where a record begins, or beyond the file's end together with the id's length: what holds
 *	in between is found, unless the last of those in between, too, does not hold.
 *
 * The work is bounded by a multiple of the file's size; in a file that was made to take more no ends are known from some place on.
 */
#ifndef WAL_CKPTEND_H
#define WAL_CKPTEND_H

#include "ckptbytes.h"

/* Free window.data. */
struct ckptend {
	struct ckptbytes *bytes;
	struct ckptwindow window;
	bool zeros_known;
	uint64_t zeros_from; /* up to the file's end there are only zeros */
	uint64_t budget;     /* how many more bytes may be looked at */
};

void ckptend_init(struct ckptend *e, struct ckptbytes *bytes);

/* The end of the record at `pos`, where one should be and none holds; 0 if it is not known. The file has been sampled. */
int ckptend_find(struct ckptend *e, uint64_t pos, uint64_t *ret_end);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads checkpoints.log from its beginning to its end: the records that hold, and the bytes that belong to none. Changes nothing.
 *
 * Where a record should be and none holds, the scan goes on at its end if that is known (see ckptend.h), else at the next "CKPT" that begins a record that holds.
 *
 * The work is linear in the file's size whatever stands in it, up to 512 MiB: no more than some 200 bytes are read and checksummed for each byte of it. In a larger file each
 * place that looks like a record, of which a hostile one has one in 6 bytes, can cost reading 2^-19 of the file. Memory: 4 MiB of checksums, a window, and one record whose checksum holds.
 */
#ifndef WAL_CKPTSCAN_H
#define WAL_CKPTSCAN_H

#include "ckptrecord.h"
#include "sys.h"

struct ckptscan_bad {
	uint64_t offset;
	uint64_t bytes;
	bool at_end; /* no record follows */
	const char *expected; /* valid during the call */
	const char *found;
};

/* What is called, in the order of the file. Anything but 0 ends the scan and is returned. */
struct ckptscan {
	/* A record that holds: where its header stands, its payload of `size` bytes, valid during the call. */
	int (*record)(void *arg, uint64_t offset, const uint8_t *payload, uint32_t size, const struct record *record);
	int (*bad)(void *arg, const struct ckptscan_bad *bad);
	void *arg;
};

/* *ret_size is the size of the file that was scanned. -ENOMEM, or as reading failed. */
int ckptscan_run(const struct ckptscan *scan, struct sys *sys, int fd, uint64_t *ret_size);

#endif

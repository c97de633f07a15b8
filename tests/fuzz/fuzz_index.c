/* SPDX-License-Identifier: Apache-2.0 */
/* segments.idx and head.state: what is loaded is what stands there, and what is written comes back. The first byte chooses which one the rest is. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "fuzz.h"
#include "names.h"
#include "scratch.h"
#include "segindex.h"

static void check_index(int dir_fd, const uint8_t *data, size_t size)
{
	struct id_array ids = { 0 }, again = { 0 };
	bool ascending = size % 8 == 0;
	size_t different = 0;

	for (size_t at = 0; ascending && at < size; at += 8) {
		different += at == 0 || get_le64(data + at) != get_le64(data + at - 8);
		ascending = at == 0 || get_le64(data + at) >= get_le64(data + at - 8);
	}
	int result = segindex_load(sys_real(), dir_fd, &ids);
	CHECK(result == (ascending ? 0 : -EBADMSG), "%d", result);
	if (result == 0) {
		CHECK(ids.count == different);
		for (size_t i = 0; i < ids.count; i++)
			CHECK(id_array_find(&ids, ids.ids[i]) == (ssize_t)i);
		CHECK(segindex_store(sys_real(), dir_fd, &ids, 0600) == 0);
		CHECK(segindex_append(sys_real(), dir_fd, ids.count, UINT64_MAX) == 0);
		CHECK(segindex_load(sys_real(), dir_fd, &again) == 0);
		CHECK(again.count == ids.count + (ids.count == 0 || ids.ids[ids.count - 1] != UINT64_MAX));
		for (size_t i = 0; i < ids.count; i++)
			CHECK(again.ids[i] == ids.ids[i]);
	} else {
		(void)segindex_append(sys_real(), dir_fd, size / 8, 1);
	}
	id_array_release(&ids);
	id_array_release(&again);
}

static void check_head(int dir_fd, const uint8_t *data, size_t size)
{
	char name[NAME_SEGMENT_MAX];
	uint64_t id, again;

	int result = headstate_load(sys_real(), dir_fd, &id);
	CHECK(result == 0 || result == -EBADMSG || (result == -EFBIG && size > 64), "%d", result);
	if (result == 0) {
		name_segment(name, id);
		CHECK(size >= 2 + strlen(name) && data[0] == 1 && data[1] == strlen(name) && memcmp(data + 2, name, strlen(name)) == 0);
	} else {
		id = size;
	}
	CHECK(headstate_store(sys_real(), dir_fd, id, 0600) == 0);
	CHECK(headstate_load(sys_real(), dir_fd, &again) == 0 && again == id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scratch scratch;

	if (size < 1)
		return 0;
	bool head = data[0] & 1;
	scratch_make(&scratch);
	scratch_write(&scratch, head ? NAME_HEAD_STATE : NAME_SEGMENTS_IDX, data + 1, size - 1);
	(head ? check_head : check_index)(scratch.fd, data + 1, size - 1);
	scratch_remove(&scratch);
	return 0;
}

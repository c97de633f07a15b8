/* SPDX-License-Identifier: Apache-2.0 */
#include "oxirs_numbers.h"

#include <string.h>

void oxirs_place(const struct oxirs_log *log, struct item *item, uint64_t bytes)
{
	*item = (struct item){ .file = log->files.files[log->index].name, .offset = log->offset, .bytes = bytes };
}

void oxirs_tell_missing(struct oxirs_log *log, struct item *item)
{
	struct oxirs_missing gap = log->missing[0];

	log->missing_count--;
	memmove(log->missing, log->missing + 1, log->missing_count * sizeof(log->missing[0]));
	*item = (struct item){ .file = log->files.files[gap.file].name, .offset = gap.offset, .has_sequence = true, .sequence = gap.first };
	finding_set(item, FINDING_GAP, "all sequence numbers", "none from %llu to %llu", (unsigned long long)gap.first, (unsigned long long)(gap.first + gap.count - 1));
	item->count = gap.count;
	item->ends_prefix = false; /* records behind it may have come already */
}

/* True: it was missing until now. */
static bool take_missing(struct oxirs_log *log, uint64_t number)
{
	for (size_t i = 0; i < log->missing_count; i++) {
		struct oxirs_missing *gap = &log->missing[i];
		uint64_t before = number - gap->first, behind;

		if (number < gap->first || before >= gap->count)
			continue;
		behind = gap->count - before - 1;
		if (before && behind && log->missing_count == OXIRS_MISSING_MAX)
			return false; /* no room for two gaps: then better say too much than too little */
		if (before && behind) {
			memmove(gap + 1, gap, (log->missing_count - i) * sizeof(*gap));
			log->missing_count++;
			gap[1].first = number + 1;
			gap[1].count = behind;
			gap->count = before;
		} else if (behind) {
			gap->first = number + 1;
			gap->count = behind;
		} else if (before) {
			gap->count = before;
		} else {
			log->missing_count--;
			memmove(gap, gap + 1, (log->missing_count - i) * sizeof(*gap));
		}
		return true;
	}
	return false;
}

bool oxirs_judge_number(struct oxirs_log *log, uint64_t number, struct item *item)
{
	bool may_restart = log->may_restart;

	if (log->any && may_restart && number <= log->last && log->missing_count) {
		oxirs_tell_missing(log, item);
		return true;
	}
	log->judged = true;
	log->may_restart = false;
	oxirs_place(log, item, 0);
	item->has_sequence = true;
	item->sequence = number;
	if (!log->any || (number > log->last && number - log->last == 1)) {
		log->any = true;
		log->last = number;
		return false;
	}
	if (number > log->last) {
		bool full = log->missing_count == OXIRS_MISSING_MAX;

		if (full)
			oxirs_tell_missing(log, item);
		log->missing[log->missing_count++] = (struct oxirs_missing){ log->last + 1, number - log->last - 1, log->index, log->offset };
		log->last = number;
		return full;
	}
	if (may_restart) {
		finding_set(item, FINDING_RESTART, "a higher sequence number", "%llu behind %llu: another session", (unsigned long long)number, (unsigned long long)log->last);
		log->session++;
		log->last = number;
		return true;
	}
	if (take_missing(log, number))
		return false;
	finding_set(item, FINDING_ORDER, "a higher sequence number", "%llu, which was there already or is too late", (unsigned long long)number);
	item->fails_strict = false; /* the original has them where several threads write */
	return true;
}

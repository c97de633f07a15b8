/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each change of checkpoints.log and HEAD with each of its system calls failing: what was acknowledged is there after a reopen, what failed is as before in this session, and is
 * either as before or done after a reopen.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints.h"
#include "ckptlog.h"
#include "ckptrecord.h"
#include "cleanup.h"
#include "damage.h"
#include "faultsys.h"
#include "test.h"

enum { LONG_ID = 60000 };

struct scene {
	const char *name;
	const char *ids[4]; /* appended first */
	const char *head;   /* what HEAD names then; NULL: the last one */
	int (*change)(struct ckptlog *log);
};

static char *long_id(char buf[LONG_ID + 1])
{
	memset(buf, 'l', LONG_ID);
	buf[LONG_ID] = '\0';
	return buf;
}

static int append_new(struct ckptlog *log)
{
	return ckpt_append(log, "new", 99, WAL_EXCL);
}

static int move_one(struct ckptlog *log)
{
	return ckpt_append(log, "one", 98, 0);
}

static int move_long(struct ckptlog *log)
{
	char id[LONG_ID + 1];

	return ckpt_append(log, long_id(id), 97, 0);
}

static int remove_one(struct ckptlog *log)
{
	return ckptlog_remove(log, "one", 3);
}

static int remove_three(struct ckptlog *log)
{
	return ckptlog_remove(log, "three", 5);
}

static int keep_one(struct ckptlog *log)
{
	return ckptlog_compact(log, 1, NULL);
}

static int forget_bee(struct ckptlog *log)
{
	return ckptlog_forget_stream(log, "bee");
}

static const struct scene scenes[] = {
	{ "the first", { NULL }, NULL, append_new },
	{ "one more", { "one", "two", "three" }, NULL, append_new },
	{ "one more, with HEAD behind", { "one", "two", "three" }, "two", append_new },
	{ "moving", { "one", "two", "three" }, NULL, move_one },
	{ "moving the latest", { "three", "two", "one" }, NULL, move_one },
	{ "moving, and dropping what was superseded", { "long", "long", "one" }, NULL, move_long },
	{ "removing the latest", { "one", "two", "three" }, NULL, remove_three },
	{ "removing another", { "one", "two", "three" }, NULL, remove_one },
	{ "removing the only one", { "one" }, NULL, remove_one },
	{ "compacting", { "one", "two", "three" }, NULL, keep_one },
	{ "compacting what HEAD names", { "one", "two", "three" }, "one", keep_one },
	{ "forgetting a stream", { "one", "two", "three" }, NULL, forget_bee },
};

static void set_up(const struct scene *scene, const struct tmpdir *dir, struct sys *sys)
{
	struct ckptlog *log = ckpt_open_with(sys, dir, false, NULL);
	char id[LONG_ID + 1];

	for (size_t i = 0; i < TEST_COUNT(scene->ids) && scene->ids[i]; i++)
		ckpt_add(log, strcmp(scene->ids[i], "long") == 0 ? long_id(id) : scene->ids[i], i);
	ckptlog_free(log);
	if (scene->head)
		dir_write_head(dir, scene->head);
}

/* What can be seen before the change and after it. */
struct views {
	char *list[2];
	char *latest[2];
};

static void look(struct ckptlog *log, char **ret_list, char **ret_latest)
{
	char *full = ckpt_dump(log, true);

	*ret_list = ckpt_dump(log, false);
	*ret_latest = strdup(strrchr(full, '|'));
	free(full);
}

static void look_at_both(const struct scene *scene, struct sys *sys, struct views *ret)
{
	struct tmpdir dir;

	tmpdir_make(&dir, "ckptfaults");
	set_up(scene, &dir, sys);
	struct ckptlog *log = ckpt_open_with(sys, &dir, false, NULL);
	look(log, &ret->list[0], &ret->latest[0]);
	assert_int_equal(scene->change(log), 0);
	look(log, &ret->list[1], &ret->latest[1]);
	ckptlog_free(log);
	tmpdir_remove(&dir);
}

/* The list is that of before (0) or after (1), with HEAD, if that is of interest, as it may be meanwhile. Returns which. */
static int expect_either(struct ckptlog *log, const struct views *views, bool exactly_new, bool any_head, const char *when)
{
	char *list, *latest;
	int which = -1;

	look(log, &list, &latest);
	for (int i = 1; i >= 0; i--)
		which = strcmp(list, views->list[i]) == 0 ? i : which;
	bool latest_known = any_head || strcmp(latest, views->latest[0]) == 0 || strcmp(latest, views->latest[1]) == 0;
	if (which < 0 || !latest_known || (exactly_new && (strcmp(list, views->list[1]) != 0 || strcmp(latest, views->latest[1]) != 0)))
		fail_msg("%s: '%.200s%s' is neither '%.200s%s' nor '%.200s%s'", when, list, latest, views->list[0], views->latest[0], views->list[1],
			 views->latest[1]);
	free(list);
	free(latest);
	return which;
}

/* The state after the reopen, without a checkpoint that was made after the failure. */
static void expect_reopened(const struct tmpdir *dir, struct sys *sys, const struct views *views, bool exactly_new, int later, const char *when)
{
	struct ckptlog *log = ckpt_open_with(sys, dir, false, NULL);

	if (later == 0) {
		ckpt_expect_latest(log, "later");
		ckpt_expect(log, "later", 1000);
		assert_int_equal(ckptlog_remove(log, "later", 5), 0);
	}
	/* With that HEAD has come to the newest. */
	expect_either(log, views, exactly_new && later != 0, later == 0, when);
	/* It goes on. */
	ckpt_add(log, "more", 5);
	ckptlog_free(log);
	log = ckpt_open_with(sys, dir, false, NULL);
	ckpt_expect(log, "more", 5);
	ckptlog_free(log);
	assert_false(dir_has(dir, CKPT_LOG ".torn.0"));
	assert_false(dir_has(dir, CKPT_LOG ".damaged.0"));
}

/* Whether HEAD, as it stands on the disk, names one that is there, or is missing. */
static bool head_is_good(const struct tmpdir *dir, struct ckptlog *log)
{
	struct wal_checkpoint *cp;
	char path[PATH_MAX];
	size_t size, id_size;
	bool good;

	if (!dir_has(dir, "HEAD"))
		return true;
	uint8_t *data = file_read(tmpdir_path(dir, "HEAD", path), &size);
	const uint8_t *id = head_decode(data, size, &id_size);
	good = id && ckptlog_load(log, id, id_size, &cp) == 0;
	if (good)
		free(cp);
	free(data);
	return good;
}

/* After a change that failed because of one call: nothing is another. */
static void expect_as_before(struct ckptlog *log, const struct views *views, const char *when)
{
	char *list, *latest;

	look(log, &list, &latest);
	if (strcmp(list, views->list[0]) != 0 || strcmp(latest, views->latest[0]) != 0)
		fail_msg("%s: '%.200s%s' is not '%.200s%s'", when, list, latest, views->list[0], views->latest[0]);
	free(list);
	free(latest);
}

enum mode { ONCE, STICKY, SHORT_WRITE, MODES };

/* One run with the nth call failing. Returns whether it came to that. */
static bool run(const struct scene *scene, const struct views *views, struct sys *quick, enum mode mode, enum fault_call call, unsigned nth, int error)
{
	struct faultsys f;
	struct tmpdir dir;
	char when[200];

	snprintf(when, sizeof when, "%s: call %u of kind %d fails with %d in mode %d", scene->name, nth, (int)call, error, (int)mode);
	faultsys_init(&f);
	f.real = quick;
	tmpdir_make(&dir, "ckptfaults");
	set_up(scene, &dir, quick);
	struct ckptlog *log = ckpt_open_with(&f.sys, &dir, false, NULL);
	faultsys_fail(&f, call, nth, error);
	f.sticky = mode == STICKY;
	f.short_write = mode == SHORT_WRITE;
	int result = scene->change(log);
	bool hit = faultsys_hit(&f);
	faultsys_fail(&f, FAULT_ANY, 0, 0);
	if (!hit)
		assert_int_equal(result, 0);
	assert_true(result == 0 || result == -error);
	int which = expect_either(log, views, result == 0, false, when);
	if (result < 0 && which != 0 && strcmp(views->list[0], views->list[1]) != 0)
		fail_msg("%s: it failed and was done", when);
	if (result < 0 && mode == ONCE)
		expect_as_before(log, views, when);
	bool head_good = head_is_good(&dir, log);
	int later = ckpt_append(log, "later", 1000, WAL_EXCL);
	assert_true(later == 0 || (later == -EIO && hit));
	if (later == 0 && !head_good)
		fail_msg("%s: HEAD names none that is there", when);
	ckptlog_free(log);
	assert_int_equal(f.open_fds, 0);
	/* If the next one was taken, what failed must not come up with it. */
	struct views before = { { views->list[0], views->list[0] }, { views->latest[0], views->latest[1] } };
	expect_reopened(&dir, quick, result < 0 && later == 0 ? &before : views, result == 0, later, when);
	tmpdir_remove(&dir);
	return hit;
}

static void sweep(enum mode mode, int error)
{
	struct sys quick = ckpt_quick_sys();
	unsigned faults = 0;

	for (size_t i = 0; i < TEST_COUNT(scenes); i++) {
		struct views views;
		unsigned nth = 1;

		look_at_both(&scenes[i], &quick, &views);
		while (run(&scenes[i], &views, &quick, mode, mode == SHORT_WRITE ? FAULT_PWRITEV : FAULT_ANY, nth, error))
			nth++;
		faults += nth - 1;
		for (int k = 0; k < 2; k++) {
			free(views.list[k]);
			free(views.latest[k]);
		}
	}
	assert_true(faults >= TEST_COUNT(scenes));
}

static void one_call_fails(void **state)
{
	(void)state;
	sweep(ONCE, EIO);
	sweep(ONCE, ENOSPC);
}

static void all_calls_fail_from_then_on(void **state)
{
	(void)state;
	sweep(STICKY, EIO);
}

static void writes_are_cut_short(void **state)
{
	(void)state;
	sweep(SHORT_WRITE, ENOSPC);
}

/* All syncs fail, or all renames, or nothing can be cut: what is left to do then differs. */
static void all_calls_of_a_kind_fail(void **state)
{
	static const enum fault_call kinds[] = { FAULT_FSYNC, FAULT_FDATASYNC, FAULT_RENAMEAT, FAULT_FTRUNCATE, FAULT_UNLINKAT, FAULT_OPENAT, FAULT_PREAD, FAULT_PWRITEV };
	struct sys quick = ckpt_quick_sys();

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(scenes); i++) {
		struct views views;

		look_at_both(&scenes[i], &quick, &views);
		for (size_t k = 0; k < TEST_COUNT(kinds); k++) {
			for (unsigned nth = 1; run(&scenes[i], &views, &quick, STICKY, kinds[k], nth, EIO);)
				nth++;
		}
		for (int k = 0; k < 2; k++) {
			free(views.list[k]);
			free(views.latest[k]);
		}
	}
}

/* ---- Opening ---- */

static void write_bad_log(const struct tmpdir *dir, uint8_t *data)
{
	memcpy(data, raw_log, RAW_BYTES);
	data[150] ^= 1; /* ckpt-2 */
	dir_write(dir, CKPT_LOG, data, RAW_BYTES - 1);
	dir_write_head(dir, "final");
}

/* Mending fails at each call: what is good is never lost, the bad bytes are kept at least once. */
static void opening_fails(void **state)
{
	static const int errors[] = { EIO, ENOSPC, ENOMEM };
	struct sys quick = ckpt_quick_sys();
	uint8_t data[RAW_BYTES];

	(void)state;
	for (size_t e = 0; e < TEST_COUNT(errors); e++) {
		bool hit = true, opened_stopped = false, opened_empty = false;

		for (unsigned nth = 1; hit; nth++) {
			const struct log silent = { 0 };
			struct wal_error err = { 0 };
			struct ckptlog *log;
			struct faultsys f;
			struct tmpdir dir;

			faultsys_init(&f);
			f.real = &quick;
			tmpdir_make(&dir, "ckptfaults");
			write_bad_log(&dir, data);
			faultsys_fail(&f, FAULT_ANY, nth, errors[e]);
			int result = ckptlog_open(&f.sys, &silent, dir.fd, false, &log, &err);
			hit = faultsys_hit(&f);
			faultsys_fail(&f, FAULT_ANY, 0, 0);
			if (result == 0) {
				bool empty = ckptlog_count(log) == 0;

				assert_true(ckptlog_open_error(log) == 0 || (hit && ckptlog_open_error(log) == -errors[e]));
				assert_true(empty ? ckptlog_open_error(log) < 0 : ckptlog_count(log) == 3);
				ckpt_expect_latest(log, empty ? NULL : "snapshot/4");
				int later = ckpt_append(log, "later", 1, 0);

				assert_true(later == 0 || (later == -EIO && hit));
				assert_int_equal(later, ckptlog_open_error(log) < 0 || later < 0 ? -EIO : 0);
				opened_stopped |= later == -EIO && !empty;
				opened_empty |= empty;
				if (later == 0)
					assert_int_equal(ckptlog_remove(log, "later", 5), 0);
				ckptlog_free(log);
			} else {
				assert_int_equal(errors[e], ENOMEM);
				assert_int_equal(result, -errors[e]);
				assert_int_equal(err.code, result);
				assert_true(hit && strlen(err.message) > 0);
			}
			assert_int_equal(f.open_fds, 0);
			log = ckpt_open_with(&quick, &dir, false, NULL);
			assert_int_equal(ckptlog_count(log), 3);
			ckpt_expect_latest(log, "snapshot/4");
			ckptlog_free(log);
			assert_true(dir_has(&dir, CKPT_LOG ".torn.0"));
			assert_true(dir_has(&dir, CKPT_LOG ".damaged.0"));
			dir_expect(&dir, CKPT_LOG ".torn.0", raw_log + RAW_LAST, RAW_BYTES - 1 - RAW_LAST);
			tmpdir_remove(&dir);
		}
		/* What can be read is, and what can't keeps nobody from the streams; but without memory nothing is opened. */
		assert_int_equal(opened_stopped, errors[e] != ENOMEM);
		assert_int_equal(opened_empty, errors[e] != ENOMEM);
	}
}

/* Reading a log that is in order fails at each call: nothing on disk changes by it. HEAD names another than the newest, which one that can't be read must not come to name. */
static void opening_a_good_log_fails(void **state)
{
	static const int errors[] = { EIO, EACCES, EMFILE };
	bool hit, head_unread = false;

	(void)state;
	for (unsigned nth = 1, e = 0; e < TEST_COUNT(errors); nth = hit ? nth + 1 : 1, e += !hit) {
		struct logged logged = LOGGED_INIT;
		const struct log to_logged = { logged_write, &logged };
		struct ckptlog *log;
		struct faultsys f;
		struct tmpdir dir;

		faultsys_init(&f);
		tmpdir_make(&dir, "ckptfaults");
		dir_write(&dir, CKPT_LOG, raw_log, RAW_BYTES);
		dir_write_head(&dir, "ckpt-2");
		faultsys_fail(&f, FAULT_ANY, nth, errors[e]);
		int result = ckptlog_open(&f.sys, &to_logged, dir.fd, false, &log, NULL);
		hit = faultsys_hit(&f);
		faultsys_fail(&f, FAULT_ANY, 0, 0);
		assert_true(result == 0 || (hit && errors[e] == EMFILE && result == -EMFILE));
		dir_expect_head(&dir, "ckpt-2");
		dir_expect(&dir, CKPT_LOG, raw_log, RAW_BYTES);
		if (result == 0) {
			bool empty = ckptlog_open_error(log) < 0 && ckptlog_count(log) == 0, unread = logged_has(&logged, "HEAD: cannot read it");

			assert_true(empty || ckptlog_count(log) == 5);
			ckpt_expect_latest(log, empty ? NULL : unread ? "final" : "ckpt-2");
			head_unread |= unread && !empty;
			ckptlog_free(log);
		}
		logged_release(&logged);
		assert_int_equal(f.open_fds, 0);
		tmpdir_remove(&dir);
	}
	assert_true(head_unread);
}

/* ---- Renames that are done and reported as failed, as over a network ---- */

struct liar {
	struct sys sys;
	struct sys *real;
	const char *name;
	unsigned nth; /* counts down */
	bool sticky;
	bool blind; /* and then nothing can be looked at */
	bool hit;
};

static int liar_renameat(struct sys *sys, int dirfd, const char *from, const char *to)
{
	struct liar *l = container_of(sys, struct liar, sys);
	int result = l->real->renameat(l->real, dirfd, from, to);

	if (result < 0 || strcmp(to, l->name) != 0 || l->nth == 0 || --l->nth > 0)
		return result;
	l->hit = true;
	l->nth = l->sticky;
	return -EIO;
}

static int liar_fstatat(struct sys *sys, int dirfd, const char *name, struct stat *ret)
{
	struct liar *l = container_of(sys, struct liar, sys);

	return l->hit && l->blind ? -EIO : l->real->fstatat(l->real, dirfd, name, ret);
}

static void renames_that_are_done_all_the_same(void **state)
{
	struct sys quick = ckpt_quick_sys();
	unsigned hits = 0;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(scenes) * 8; i++) {
		const struct scene *scene = &scenes[i / 8];
		struct liar l = { .sys = quick, .real = &quick, .name = i & 1 ? "HEAD" : CKPT_LOG, .nth = 1, .sticky = i & 2, .blind = i & 4 };
		struct views views;
		struct tmpdir dir;

		l.sys.renameat = liar_renameat;
		l.sys.fstatat = liar_fstatat;
		look_at_both(scene, &quick, &views);
		tmpdir_make(&dir, "ckptfaults");
		set_up(scene, &dir, &quick);
		struct ckptlog *log = ckpt_open_with(&l.sys, &dir, false, NULL);
		int result = scene->change(log);
		expect_either(log, &views, result == 0, false, scene->name);
		if (result < 0 && !l.sticky)
			expect_as_before(log, &views, scene->name);
		hits += l.hit;
		/* What is acknowledged from then on is there after a reopen. */
		l.nth = 0;
		l.blind = false;
		int later = ckpt_append(log, "later", 1000, WAL_EXCL);
		assert_true(later == 0 || (later == -EIO && l.hit && l.sticky));
		ckptlog_free(log);
		expect_reopened(&dir, &quick, &views, result == 0, later, scene->name);
		tmpdir_remove(&dir);
		for (int k = 0; k < 2; k++) {
			free(views.list[k]);
			free(views.latest[k]);
		}
	}
	assert_true(hits > TEST_COUNT(scenes) * 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_call_fails),
		cmocka_unit_test(all_calls_fail_from_then_on),
		cmocka_unit_test(writes_are_cut_short),
		cmocka_unit_test(all_calls_of_a_kind_fail),
		cmocka_unit_test(opening_fails),
		cmocka_unit_test(opening_a_good_log_fails),
		cmocka_unit_test(renames_that_are_done_all_the_same),
	};

	return TEST_RUN(tests);
}

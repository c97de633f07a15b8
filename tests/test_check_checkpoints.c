/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wal_verify() and wal_repair() over checkpoints.log and HEAD that are torn, damaged or dangling. It is linked so that the library's sys_real() comes from here.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoints.h"
#include "ckptrecord.h"
#include "damage.h"
#include "faultsys.h"
#include "snapshot.h"
#include "test.h"

/* ---- The system calls that the library gets ---- */

static struct sys *calls; /* NULL: the real ones, without syncs */

struct sys *__real_sys_real(void);
struct sys *__wrap_sys_real(void);

static int no_sync(struct sys *sys, int fd)
{
	(void)sys;
	(void)fd;
	return 0;
}

struct sys *__wrap_sys_real(void)
{
	static struct sys quick;

	if (!quick.openat) {
		quick = *__real_sys_real();
		quick.fsync = no_sync;
		quick.fdatasync = no_sync;
	}
	return calls ? calls : &quick;
}

/* ---- Helpers ---- */

/* A store with the stream "s" and the checkpoints "one", "two" and "three"; "one" is `begin`[0] and so on, `begin[3]` is the end. */
struct place {
	struct tmpdir dir;
	struct tmpdir store;
	uint8_t *log;
	size_t begin[4];
};

static const char *const ids[] = { "one", "two", "three" };

static void place_make(struct place *p)
{
	char path[PATH_MAX];
	struct wal_stream *st;

	tmpdir_make(&p->dir, "checkpoints");
	tmpdir_path(&p->dir, "store", p->store.path);
	struct wal_store *store = store_open_or_fail(p->store.path, NULL);
	st = stream_open_or_fail(store, "s");
	for (size_t i = 0; i < 3; i++) {
		stream_fill(st, 10 * i, 10 * (i + 1));
		assert_int_equal(wal_checkpoint_create(store, ids[i], strlen(ids[i]), 0, NULL), 0);
	}
	wal_stream_close(st);
	store_close_or_fail(store);
	p->store.fd = openat(p->dir.fd, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->log = file_read(tmpdir_path(&p->store, CKPT_LOG, path), &p->begin[3]);
	p->begin[0] = 0;
	for (size_t i = 0; i < 2; i++)
		p->begin[i + 1] = p->begin[i] + RECORD_HEADER + 15 + strlen(ids[i]) + 10;
	assert_memory_equal(p->log + p->begin[2], "CKPT", 4);
}

static void place_remove(struct place *p)
{
	close(p->store.fd);
	free(p->log);
	tmpdir_remove(&p->dir);
}

struct findings {
	char text[4096]; /* a line each */
	struct wal_check_result result;
};

static const char *const kinds[WAL_FINDING_KINDS] = { "note", "cache", "torn", "damage", "error" };

static void note_finding(void *arg, const struct wal_finding *f)
{
	struct findings *fs = arg;
	size_t n = strlen(fs->text);

	assert_true(f->expected && f->found);
	snprintf(fs->text + n, sizeof fs->text - n, "%s %s%s%s %zu+%zu: %s\n", kinds[f->kind], f->stream ? f->stream : "", f->stream ? "/" : "", f->file ? f->file : ".",
		 (size_t)f->offset, (size_t)f->bytes, f->found);
}

static int run(struct place *p, typeof(wal_verify) *function, bool dry_run, struct findings *ret)
{
	const struct wal_check check = { .finding = note_finding, .arg = ret, .dry_run = dry_run };

	*ret = (struct findings){ 0 };
	return function(p->store.path, NULL, &check, &ret->result, NULL);
}

static void expect_findings(struct place *p, const char *text)
{
	char *before = snapshot_take(p->store.path);
	struct findings fs;

	assert_int_equal(run(p, wal_verify, false, &fs), 0);
	assert_string_equal(fs.text, text);
	assert_int_equal(run(p, wal_repair, true, &fs), 0);
	assert_string_equal(fs.text, text);
	snapshot_expect(p->store.path, before);
	free(before);
}

/* It finds what is there and leaves `left` (NULL: some notes); the checkpoints that are in order are there, one of them is the latest. */
static void repair_and_expect(struct place *p, const char *text, const char *left, const char *good, const char *latest)
{
	struct findings fs;

	assert_int_equal(run(p, wal_repair, false, &fs), 0);
	assert_string_equal(fs.text, text);
	if (left)
		expect_findings(p, left);
	assert_int_equal(run(p, wal_verify, false, &fs), 0);
	for (int kind = WAL_FINDING_NOTE + 1; kind < WAL_FINDING_KINDS; kind++)
		assert_int_equal(fs.result.findings[kind], 0);
	struct ckptlog *log = ckpt_open_with(sys_real(), &p->store, true, NULL);
	ckpt_expect_ids(log, good);
	ckpt_expect_latest(log, *latest ? latest : NULL);
	ckptlog_free(log);
	if (*latest)
		dir_expect_head(&p->store, latest);
}

#define NOTE_TORN "note checkpoints.log.torn.0 0+0: bytes that were set aside earlier\n"
#define NOTE_DAMAGED "note checkpoints.log.damaged.0 0+0: bytes that were set aside earlier\n"

/* ---- Tests ---- */

static void checkpoints_in_order(void **state)
{
	struct place p;

	(void)state;
	place_make(&p);
	expect_findings(&p, "");
	repair_and_expect(&p, "", "", "one two three ", "three");
	place_remove(&p);
}

static void torn_log(void **state)
{
	struct place p;

	(void)state;
	place_make(&p);
	dir_write(&p.store, CKPT_LOG, p.log, p.begin[3] - 3);
	const char *text = "torn checkpoints.log 80+39: a record of 30 bytes of which 27 are there\n"
			   "cache HEAD 0+0: one that is not there\n";
	expect_findings(&p, text);
	repair_and_expect(&p, text, NOTE_TORN, "one two ", "two");
	dir_expect(&p.store, CKPT_LOG ".torn.0", p.log + p.begin[2], p.begin[3] - 3 - p.begin[2]);
	place_remove(&p);
}

static void damaged_log(void **state)
{
	struct findings fs;
	struct place p;

	(void)state;
	place_make(&p);
	p.log[p.begin[1] + RECORD_HEADER + 4] ^= 1;
	dir_write(&p.store, CKPT_LOG, p.log, p.begin[3]);
	assert_int_equal(run(&p, wal_verify, false, &fs), 0);
	assert_non_null(strstr(fs.text, "damage checkpoints.log 40+40: a record of 28 bytes with checksum "));
	assert_int_equal(fs.result.findings[WAL_FINDING_DAMAGE], 1);
	expect_findings(&p, strdupa(fs.text));
	repair_and_expect(&p, strdupa(fs.text), NOTE_DAMAGED, "one three ", "three");
	place_remove(&p);
}

static void several_places(void **state)
{
	static const char junk[] = "junk";
	uint8_t mixed[512];
	struct place p;
	size_t size = 0;

	(void)state;
	place_make(&p);
	for (size_t i = 0; i < 3; i++) {
		memcpy(mixed + size, junk, 4);
		memcpy(mixed + size + 4, p.log + p.begin[i], p.begin[i + 1] - p.begin[i]);
		size += 4 + p.begin[i + 1] - p.begin[i];
	}
	memset(mixed + size, 0, 100);
	dir_write(&p.store, CKPT_LOG, mixed, size + 100);
	const char *text = "damage checkpoints.log 0+4: the bytes 6a 75 6e 6b 43 4b 50 54 ";
	struct findings fs;
	assert_int_equal(run(&p, wal_verify, false, &fs), 0);
	assert_memory_equal(fs.text, text, strlen(text));
	assert_int_equal(fs.result.findings[WAL_FINDING_DAMAGE], 3);
	assert_non_null(strstr(fs.text, "torn checkpoints.log 134+100: the bytes 00 00 00 00 00 00 00 00 00 00 00 00\n"));
	repair_and_expect(&p, strdupa(fs.text), NULL, "one two three ", "three");
	place_remove(&p);
}

/* More places than are told of one by one. */
static void very_many_places(void **state)
{
	enum { RECORDS = 1500 };
	struct findings *fs = calloc(1, sizeof *fs);
	struct place p;
	uint8_t *mixed;
	size_t size = 0;

	(void)state;
	place_make(&p);
	mixed = malloc(RECORDS * (p.begin[1] + 1));
	for (unsigned i = 0; i < RECORDS; i++) {
		mixed[size++] = '!';
		memcpy(mixed + size, p.log, p.begin[1]);
		size += p.begin[1];
	}
	dir_write(&p.store, CKPT_LOG, mixed, size);
	dir_write_head(&p.store, "one");
	assert_int_equal(run(&p, wal_repair, false, fs), 0);
	assert_int_equal(fs->result.findings[WAL_FINDING_DAMAGE], 1001);
	expect_findings(&p, NOTE_DAMAGED);
	free(fs);
	free(mixed);
	place_remove(&p);
}

static void head_that_is_no_good(void **state)
{
	struct place p;

	(void)state;
	place_make(&p);
	assert_int_equal(unlinkat(p.store.fd, "HEAD", 0), 0);
	expect_findings(&p, "note HEAD 0+0: no such file\n");
	repair_and_expect(&p, "note HEAD 0+0: no such file\n", "", "one two three ", "three");
	dir_write(&p.store, "HEAD", "\x05\x00thre", 6);
	repair_and_expect(&p, "cache HEAD 0+0: none that is whole\n", "", "one two three ", "three");
	dir_write_head(&p.store, "four");
	repair_and_expect(&p, "cache HEAD 0+0: one that is not there\n", "", "one two three ", "three");
	/* What a crash between record and HEAD leaves is in order. */
	dir_write_head(&p.store, "two");
	repair_and_expect(&p, "", "", "one two three ", "two");
	/* Without checkpoints. */
	assert_int_equal(unlinkat(p.store.fd, CKPT_LOG, 0), 0);
	expect_findings(&p, "note HEAD 0+0: one that is not there\n");
	repair_and_expect(&p, "note HEAD 0+0: one that is not there\n", "note HEAD 0+0: one that is not there\n", "", "");
	place_remove(&p);
}

static void files_beside(void **state)
{
	struct place p;

	(void)state;
	place_make(&p);
	dir_write(&p.store, CKPT_LOG ".tmp", "x", 1);
	expect_findings(&p, "note checkpoints.log.tmp 0+0: what a replacement that did not come to its end has left\n");
	assert_int_equal(unlinkat(p.store.fd, CKPT_LOG ".tmp", 0), 0);
	dir_write(&p.store, "HEAD.tmp", "x", 1);
	expect_findings(&p, "note HEAD.tmp 0+0: what a replacement that did not come to its end has left\n");
	assert_int_equal(unlinkat(p.store.fd, "HEAD.tmp", 0), 0);
	dir_write(&p.store, CKPT_LOG ".mine", "x", 1);
	expect_findings(&p, "note checkpoints.log.mine 0+0: another file\n");
	place_remove(&p);
}

static void log_that_is_no_file(void **state)
{
	struct findings fs;
	struct place p;

	(void)state;
	place_make(&p);
	assert_int_equal(unlinkat(p.store.fd, CKPT_LOG, 0), 0);
	assert_int_equal(mkfifoat(p.store.fd, CKPT_LOG, 0600), 0);
	assert_int_equal(run(&p, wal_verify, false, &fs), 0);
	assert_string_equal(fs.text, "error checkpoints.log 0+0: Invalid argument\n");
	place_remove(&p);
}

/* Only for the store as a whole. */
static void not_for_one_stream(void **state)
{
	const struct wal_check check = { .stream = "s" };
	struct wal_check_result result;
	struct place p;

	(void)state;
	place_make(&p);
	dir_write(&p.store, CKPT_LOG, "junk", 4);
	assert_int_equal(wal_verify(p.store.path, NULL, &check, &result, NULL), 0);
	assert_int_equal(result.findings[WAL_FINDING_TORN] + result.findings[WAL_FINDING_DAMAGE], 0);
	place_remove(&p);
}

/* A repair with each call failing says so, or has done it, and the next one does it. */
static void repair_with_failing_calls(void **state)
{
	static const int errors[] = { EIO, ENOSPC };

	(void)state;
	for (size_t e = 0; e < TEST_COUNT(errors); e++) {
		bool hit = true;
		unsigned failed = 0;

		for (unsigned nth = 1; hit; nth++) {
			struct findings fs;
			struct faultsys f;
			struct place p;

			place_make(&p);
			p.log[RECORD_HEADER + 4] ^= 1;
			dir_write(&p.store, CKPT_LOG, p.log, p.begin[3] - 3);
			faultsys_init(&f);
			faultsys_fail(&f, FAULT_ANY, nth, errors[e]);
			calls = &f.sys;
			int result = run(&p, wal_repair, false, &fs);
			calls = NULL;
			hit = faultsys_hit(&f);
			assert_int_equal(f.open_fds, 0);
			if (!hit)
				assert_int_equal(result, 0);
			failed += result < 0;
			/* Unless it was told that something could not be looked at, success means that it is done. */
			if (result == 0 && fs.result.findings[WAL_FINDING_ERROR] == 0) {
				assert_int_equal(run(&p, wal_verify, false, &fs), 0);
				assert_int_equal(fs.result.findings[WAL_FINDING_TORN] + fs.result.findings[WAL_FINDING_DAMAGE], 0);
			}
			assert_int_equal(run(&p, wal_repair, false, &fs), 0);
			assert_int_equal(run(&p, wal_verify, false, &fs), 0);
			assert_int_equal(fs.result.findings[WAL_FINDING_TORN] + fs.result.findings[WAL_FINDING_DAMAGE] + fs.result.findings[WAL_FINDING_CACHE], 0);
			assert_true(dir_has(&p.store, CKPT_LOG ".torn.0") && dir_has(&p.store, CKPT_LOG ".damaged.0"));
			struct ckptlog *log = ckpt_open_with(sys_real(), &p.store, true, NULL);
			ckpt_expect_ids(log, "two ");
			ckptlog_free(log);
			place_remove(&p);
		}
		assert_true(failed > 0);
	}
}

/* ---- While another handle writes ---- */

struct changing {
	struct wal_store *store;
	atomic_bool stop;
};

static void *make_and_remove(void *arg)
{
	struct changing *c = arg;

	for (unsigned i = 0; !atomic_load(&c->stop); i++) {
		char id[16];
		size_t size = (size_t)snprintf(id, sizeof id, "%u", i);

		if (wal_checkpoint_create(c->store, id, size, 0, NULL) != 0 || (i % 3 == 0 && wal_checkpoint_remove(c->store, id, size) != 0) ||
		    (i % 16 == 0 && wal_checkpoint_compact(c->store, 5, NULL) != 0))
			abort();
	}
	return NULL;
}

/* What is being written looks neither torn nor dangling. */
static void verify_while_checkpoints_are_made(void **state)
{
	struct changing changing = { 0 };
	pthread_t thread;
	struct place p;

	(void)state;
	place_make(&p);
	changing.store = store_open_or_fail(p.store.path, NULL);
	assert_int_equal(pthread_create(&thread, NULL, make_and_remove, &changing), 0);
	for (unsigned i = 0; i < 300; i++) {
		struct findings fs;

		assert_int_equal(run(&p, wal_verify, false, &fs), 0);
		if (fs.result.findings[WAL_FINDING_TORN] + fs.result.findings[WAL_FINDING_DAMAGE] + fs.result.findings[WAL_FINDING_CACHE] +
		    fs.result.findings[WAL_FINDING_ERROR])
			fail_msg("%s", fs.text);
	}
	atomic_store(&changing.stop, true);
	pthread_join(thread, NULL);
	store_close_or_fail(changing.store);
	place_remove(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checkpoints_in_order),
		cmocka_unit_test(torn_log),
		cmocka_unit_test(damaged_log),
		cmocka_unit_test(several_places),
		cmocka_unit_test(very_many_places),
		cmocka_unit_test(head_that_is_no_good),
		cmocka_unit_test(files_beside),
		cmocka_unit_test(log_that_is_no_file),
		cmocka_unit_test(not_for_one_stream),
		cmocka_unit_test(repair_with_failing_calls),
		cmocka_unit_test(verify_while_checkpoints_are_made),
	};

	return TEST_RUN(tests);
}

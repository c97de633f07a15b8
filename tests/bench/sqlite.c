/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#ifdef HAVE_SQLITE

#include <err.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct bench_sqlite {
	sqlite3 *db;
	sqlite3_stmt *begin, *commit, *insert, *select;
};

static void check(struct bench_sqlite *s, int result)
{
	if (result != SQLITE_OK && result != SQLITE_DONE && result != SQLITE_ROW)
		errx(1, "SQLite: %s", sqlite3_errmsg(s->db));
}

static void run(struct bench_sqlite *s, const char *sql)
{
	check(s, sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

static sqlite3_stmt *prepare(struct bench_sqlite *s, const char *sql)
{
	sqlite3_stmt *statement = NULL;

	check(s, sqlite3_prepare_v2(s->db, sql, -1, &statement, NULL));
	return statement;
}

static void step(struct bench_sqlite *s, sqlite3_stmt *statement)
{
	check(s, sqlite3_step(statement));
	check(s, sqlite3_reset(statement));
}

struct bench_sqlite *bench_sqlite_open(struct bench *b, const char *name, bool synced)
{
	struct bench_sqlite *s = calloc(1, sizeof *s);

	if (!s)
		err(1, "SQLite");
	check(s, sqlite3_open(bench_path(b, name), &s->db));
	run(s, "PRAGMA journal_mode=WAL");
	run(s, synced ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=OFF");
	run(s, "CREATE TABLE entries (id INTEGER PRIMARY KEY, data BLOB NOT NULL)");
	s->begin = prepare(s, "BEGIN");
	s->commit = prepare(s, "COMMIT");
	s->insert = prepare(s, "INSERT INTO entries (data) VALUES (?)");
	s->select = prepare(s, "SELECT data FROM entries WHERE id = ?");
	return s;
}

bool bench_sqlite_there(void)
{
	return true;
}

void bench_sqlite_begin(struct bench_sqlite *s)
{
	step(s, s->begin);
}

void bench_sqlite_commit(struct bench_sqlite *s)
{
	step(s, s->commit);
}

void bench_sqlite_insert(struct bench_sqlite *s, const void *data, size_t size)
{
	check(s, sqlite3_bind_blob(s->insert, 1, data, (int)size, SQLITE_STATIC));
	step(s, s->insert);
}

size_t bench_sqlite_select(struct bench_sqlite *s, uint64_t id, void *data, size_t room)
{
	check(s, sqlite3_bind_int64(s->select, 1, (sqlite3_int64)id));
	if (sqlite3_step(s->select) != SQLITE_ROW)
		errx(1, "SQLite: row %llu is missing", (unsigned long long)id);
	size_t size = (size_t)sqlite3_column_bytes(s->select, 0);
	if (size > room)
		errx(1, "SQLite: row %llu is too large", (unsigned long long)id);
	memcpy(data, sqlite3_column_blob(s->select, 0), size);
	check(s, sqlite3_reset(s->select));
	return size;
}

void bench_sqlite_close(struct bench_sqlite *s)
{
	if (!s)
		return;
	sqlite3_finalize(s->begin);
	sqlite3_finalize(s->commit);
	sqlite3_finalize(s->insert);
	sqlite3_finalize(s->select);
	sqlite3_close(s->db);
	free(s);
}

#else

struct bench_sqlite *bench_sqlite_open(struct bench *b, const char *name, bool synced)
{
	(void)b;
	(void)name;
	(void)synced;
	return NULL;
}

bool bench_sqlite_there(void)
{
	return false;
}

void bench_sqlite_begin(struct bench_sqlite *s)
{
	(void)s;
}

void bench_sqlite_commit(struct bench_sqlite *s)
{
	(void)s;
}

void bench_sqlite_insert(struct bench_sqlite *s, const void *data, size_t size)
{
	(void)s;
	(void)data;
	(void)size;
}

size_t bench_sqlite_select(struct bench_sqlite *s, uint64_t id, void *data, size_t room)
{
	(void)s;
	(void)id;
	(void)data;
	(void)room;
	return 0;
}

void bench_sqlite_close(struct bench_sqlite *s)
{
	(void)s;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoints.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_text.h"
#include "namespace.h"

/* What `.checkpoints/HEAD` was when it was looked at. */
struct head {
	bool known;
	uint64_t version;
	bool there;
	int64_t time_ns;
	char name[PERCENT_NAME_MAX + 1];
};

struct checkpoints {
	pthread_mutex_t lock;

	/* protected by lock */
	struct checkpoint_table table;
	struct checkpoint_list *list; /* the latest that was made; NULL: none yet */
	struct head head;
	int64_t mtime_ns; /* the set's last change */
};

static struct checkpoint *at_index(struct checkpoints *set, uint64_t index)
{
	struct checkpoint *checkpoint;

	pthread_mutex_lock(&set->lock);
	checkpoint = checkpoint_table_at(&set->table, index);
	pthread_mutex_unlock(&set->lock);
	return checkpoint;
}

int checkpoints_new(struct walfs *fs, struct checkpoints **ret_checkpoints)
{
	struct checkpoints *set = calloc(1, sizeof(*set));
	struct wal_checkpoint *latest;
	int r;

	if (!set)
		return -ENOMEM;
	pthread_mutex_init(&set->lock, NULL);
	set->mtime_ns = NAMESPACE_TIME_NS;
	r = wal_checkpoint_latest(fs->store, &latest);
	if (r == 0) {
		set->mtime_ns = latest->time_ns;
		free(latest);
	}
	/* One that is damaged is no reason not to mount. */
	if (r < 0 && r != -EBADMSG) {
		checkpoints_free(set);
		return r;
	}
	*ret_checkpoints = set;
	return 0;
}

void checkpoints_free(struct checkpoints *set)
{
	checkpoint_table_release(&set->table);
	checkpoint_list_put(set->list);
	pthread_mutex_destroy(&set->lock);
	free(set);
}

/* ---- What is known of one ---- */

struct found {
	bool there;
	int64_t time_ns;
	size_t text_size;
};

/* What the store says. A checkpoint whose record is damaged is there, so that it can be removed, with nothing in it. */
static int load(struct walfs *fs, const void *id, size_t id_size, struct found *ret_found)
{
	struct wal_checkpoint *checkpoint;
	int r = wal_checkpoint_load(fs->store, id, id_size, &checkpoint);

	switch (r) {
	case 0:
		*ret_found = (struct found){ true, checkpoint->time_ns, checkpoint_text_size(checkpoint) };
		free(checkpoint);
		return 0;
	case WAL_NOT_FOUND:
		*ret_found = (struct found){ 0 };
		return 0;
	case -EBADMSG:
		*ret_found = (struct found){ .there = true, .time_ns = NAMESPACE_TIME_NS };
		return 0;
	default:
		return r;
	}
}

/* *ret_checkpoint is NULL if there has never been one of this id. */
static int look(struct walfs *fs, const void *id, size_t id_size, struct checkpoint **ret_checkpoint, struct found *ret_found)
{
	struct checkpoints *set = fs->checkpoints;
	uint64_t version = wal_checkpoint_version(fs->store);
	struct checkpoint *checkpoint;
	struct found found;
	bool known;
	int r;

	pthread_mutex_lock(&set->lock);
	checkpoint = checkpoint_table_find(&set->table, id, id_size);
	known = checkpoint && checkpoint->there && checkpoint->version == version;
	if (known)
		found = (struct found){ true, checkpoint->time_ns, checkpoint->text_size };
	pthread_mutex_unlock(&set->lock);
	if (!known) {
		r = load(fs, id, id_size, &found);
		if (r < 0)
			return r;
		pthread_mutex_lock(&set->lock);
		if (found.there)
			checkpoint = checkpoint_table_find_or_add(&set->table, id, id_size);
		if (checkpoint) {
			checkpoint->there = found.there;
			checkpoint->version = version;
		}
		if (checkpoint && found.there) {
			checkpoint->time_ns = found.time_ns;
			checkpoint->text_size = found.text_size;
		}
		pthread_mutex_unlock(&set->lock);
		if (found.there && !checkpoint)
			return -ENOMEM;
	}
	*ret_checkpoint = checkpoint;
	*ret_found = found;
	return 0;
}

struct checkpoint *checkpoint_ref(struct walfs *fs, uint64_t index)
{
	struct checkpoint *checkpoint = at_index(fs->checkpoints, index);

	if (checkpoint) {
		pthread_mutex_lock(&fs->checkpoints->lock);
		checkpoint->opens++;
		pthread_mutex_unlock(&fs->checkpoints->lock);
	}
	return checkpoint;
}

void checkpoint_unref(struct walfs *fs, struct checkpoint *checkpoint)
{
	pthread_mutex_lock(&fs->checkpoints->lock);
	checkpoint->opens--;
	pthread_mutex_unlock(&fs->checkpoints->lock);
}

/* ---- Lists ---- */

void checkpoint_list_put(struct checkpoint_list *list)
{
	if (list && atomic_fetch_sub(&list->refs, 1) == 1)
		free(list);
}

static int make_list(struct walfs *fs, uint64_t version, struct checkpoint_list **ret_list)
{
	struct checkpoints *set = fs->checkpoints;
	struct wal_checkpoint *checkpoints;
	struct checkpoint_list *list;
	size_t count;
	int r;

	r = wal_checkpoint_list(fs->store, &checkpoints, &count);
	if (r < 0)
		return r;
	list = malloc(sizeof(*list) + count * sizeof(*list->checkpoints));
	if (!list) {
		free(checkpoints);
		return -ENOMEM;
	}
	atomic_init(&list->refs, 1);
	list->version = version;
	pthread_mutex_lock(&set->lock);
	for (list->count = 0; list->count < count; list->count++) {
		struct checkpoint *checkpoint = checkpoint_table_find_or_add(&set->table, checkpoints[list->count].id, checkpoints[list->count].id_size);

		if (!checkpoint)
			break;
		list->checkpoints[list->count] = checkpoint;
	}
	pthread_mutex_unlock(&set->lock);
	free(checkpoints);
	if (list->count < count) {
		checkpoint_list_put(list);
		return -ENOMEM;
	}
	*ret_list = list;
	return 0;
}

int checkpoints_list(struct walfs *fs, struct checkpoint_list **ret_list)
{
	struct checkpoints *set = fs->checkpoints;
	uint64_t version = wal_checkpoint_version(fs->store);
	struct checkpoint_list *list, *old;
	int r;

	pthread_mutex_lock(&set->lock);
	list = set->list && set->list->version == version ? set->list : NULL;
	if (list)
		atomic_fetch_add(&list->refs, 1);
	pthread_mutex_unlock(&set->lock);
	if (!list) {
		r = make_list(fs, version, &list);
		if (r < 0)
			return r;
		atomic_fetch_add(&list->refs, 1);
		pthread_mutex_lock(&set->lock);
		old = set->list;
		set->list = list;
		pthread_mutex_unlock(&set->lock);
		checkpoint_list_put(old);
	}
	*ret_list = list;
	return 0;
}

/* ---- HEAD ---- */

static int look_at_head(struct walfs *fs, struct head *ret_head)
{
	struct checkpoints *set = fs->checkpoints;
	struct head head = { .known = true, .version = wal_checkpoint_version(fs->store) };
	struct wal_checkpoint *latest;
	bool known;
	int r;

	pthread_mutex_lock(&set->lock);
	known = set->head.known && set->head.version == head.version;
	if (known)
		head = set->head;
	pthread_mutex_unlock(&set->lock);
	if (!known) {
		r = wal_checkpoint_latest(fs->store, &latest);
		if (r < 0)
			return r;
		if (r == 0) {
			head.there = true;
			head.time_ns = latest->time_ns;
			percent_encode(latest->id, latest->id_size, head.name);
			free(latest);
		}
		pthread_mutex_lock(&set->lock);
		set->head = head;
		pthread_mutex_unlock(&set->lock);
	}
	*ret_head = head;
	return head.there ? 0 : WAL_NOT_FOUND;
}

int checkpoints_readlink(struct walfs *fs, char *target)
{
	struct head head;
	int r = look_at_head(fs, &head);

	if (r == 0)
		strcpy(target, head.name);
	return r;
}

/* ---- Names ---- */

/* By comparing it with all: only names of ids over 237 bytes. */
static int search(struct walfs *fs, const char *name, struct checkpoint_id *ret_id)
{
	char other[PERCENT_NAME_MAX + 1];
	struct checkpoint_list *list;
	int r = checkpoints_list(fs, &list);

	if (r < 0)
		return r;
	r = WAL_NOT_FOUND;
	for (size_t i = 0; r && i < list->count; i++) {
		struct checkpoint *checkpoint = list->checkpoints[i];

		percent_encode(checkpoint->id, checkpoint->id_size, other);
		if (!strcmp(name, other)) {
			ret_id->bytes = checkpoint->id; /* stays when the list goes */
			ret_id->size = checkpoint->id_size;
			r = 0;
		}
	}
	checkpoint_list_put(list);
	return r;
}

int checkpoints_resolve(struct walfs *fs, const char *name, struct checkpoint_id *ret_id)
{
	char latest[PERCENT_NAME_MAX + 1];
	size_t size = strlen(name);
	int r;

	if (size > PERCENT_NAME_MAX)
		return -ENAMETOOLONG;
	if (!strcmp(name, "HEAD")) {
		r = checkpoints_readlink(fs, latest);
		if (r)
			return r;
		name = latest;
		size = strlen(name);
	}
	if (!size || name[0] == '.')
		return WAL_NOT_FOUND;
	if (percent_is_cut(name, size))
		return search(fs, name, ret_id);
	ret_id->size = percent_decode(name, size, ret_id->buffer);
	ret_id->bytes = ret_id->buffer;
	return 0;
}

int checkpoints_lookup(struct walfs *fs, const char *name, struct node *ret_node)
{
	static const struct {
		const char *name;
		enum node_kind kind;
	} fixed[] = { { "HEAD", NODE_HEAD }, { ".prune", NODE_CHECKPOINTS_PRUNE }, { ".compact", NODE_CHECKPOINTS_COMPACT } };
	struct checkpoint *checkpoint;
	struct checkpoint_id id;
	struct found found;
	int r;

	for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
		if (!strcmp(name, fixed[i].name)) {
			*ret_node = (struct node){ .kind = fixed[i].kind };
			return 0;
		}
	r = checkpoints_resolve(fs, name, &id);
	if (r == 0)
		r = look(fs, id.bytes, id.size, &checkpoint, &found);
	if (r)
		return r;
	if (!found.there)
		return WAL_NOT_FOUND;
	*ret_node = (struct node){ .kind = NODE_CHECKPOINT, .number = checkpoint->index };
	return 0;
}

/* ---- Attributes ---- */

static int stat_checkpoint(struct walfs *fs, uint64_t index, struct stat *st)
{
	struct checkpoint *checkpoint = at_index(fs->checkpoints, index);
	struct found found;
	unsigned opens;
	int r;

	r = checkpoint ? look(fs, checkpoint->id, checkpoint->id_size, &checkpoint, &found) : WAL_NOT_FOUND;
	if (r)
		return r;
	if (!found.there) {
		pthread_mutex_lock(&fs->checkpoints->lock);
		opens = checkpoint->opens;
		found = (struct found){ false, checkpoint->time_ns, checkpoint->text_size };
		pthread_mutex_unlock(&fs->checkpoints->lock);
		if (!opens)
			return WAL_NOT_FOUND;
		st->st_nlink = 0;
	}
	st->st_ino = checkpoint->st_ino;
	st->st_mode = S_IFREG | 0444;
	st->st_size = (off_t)found.text_size;
	namespace_set_times(st, found.time_ns);
	return 0;
}

static int stat_head(struct walfs *fs, struct stat *st)
{
	struct head head;
	int r = look_at_head(fs, &head);

	if (r)
		return r;
	st->st_mode = S_IFLNK | 0777;
	st->st_size = (off_t)strlen(head.name);
	namespace_set_times(st, head.time_ns);
	return 0;
}

int checkpoints_stat(struct walfs *fs, const struct node *node, struct stat *st)
{
	st->st_ino = node_ino(node, 0);
	switch (node->kind) {
	case NODE_CHECKPOINT:
		return stat_checkpoint(fs, node->number, st);
	case NODE_HEAD:
		return stat_head(fs, st);
	default:
		st->st_mode = S_IFDIR | 0777;
		st->st_nlink = 2;
		st->st_size = 4096;
		pthread_mutex_lock(&fs->checkpoints->lock);
		namespace_set_times(st, fs->checkpoints->mtime_ns);
		pthread_mutex_unlock(&fs->checkpoints->lock);
		return 0;
	}
}

/* ---- Changes ---- */

/* The set changed at `time_ns`. Two creations may end in the other order than they were taken in. */
static void set_mtime(struct checkpoints *set, int64_t time_ns)
{
	pthread_mutex_lock(&set->lock);
	if (time_ns > set->mtime_ns)
		set->mtime_ns = time_ns;
	pthread_mutex_unlock(&set->lock);
}

int checkpoints_create(struct walfs *fs, const char *name)
{
	struct checkpoint *checkpoint;
	struct checkpoint_id id;
	struct wal_error err;
	struct found found;
	int r;

	if (!strcmp(name, "HEAD"))
		return -EPERM;
	r = checkpoints_resolve(fs, name, &id);
	/* One that begins with a period would not be found again, nor would one that reads as if it were cut. */
	if (r)
		return r == WAL_NOT_FOUND ? -EINVAL : r;
	r = wal_checkpoint_create(fs->store, id.bytes, id.size, WAL_EXCL, &err);
	if (r < 0) {
		if (r != -EEXIST && r != -EROFS)
			report_line(fs->report, WAL_LOG_ERROR, "checkpoint '%s' was not made: %s", name, err.message);
		return r;
	}
	r = look(fs, id.bytes, id.size, &checkpoint, &found);
	if (r == 0 && found.there)
		set_mtime(fs->checkpoints, found.time_ns);
	return r;
}

int checkpoints_remove(struct walfs *fs, const char *name)
{
	struct checkpoint_id id;
	int r;

	if (!strcmp(name, "HEAD") || !strcmp(name, ".prune") || !strcmp(name, ".compact"))
		return -EPERM;
	r = checkpoints_resolve(fs, name, &id);
	if (r == 0)
		r = wal_checkpoint_remove(fs->store, id.bytes, id.size);
	if (r == 0)
		set_mtime(fs->checkpoints, namespace_now_ns());
	else if (r < 0 && r != -EROFS && r != -ENAMETOOLONG)
		report_line(fs->report, WAL_LOG_ERROR, "checkpoint '%s' was not removed: %s", name, wal_strerror(r));
	return r;
}

int checkpoints_compact(struct walfs *fs, size_t keep)
{
	size_t removed = 0;
	int r = wal_checkpoint_compact(fs->store, keep, &removed);

	if (r == 0 && removed)
		set_mtime(fs->checkpoints, namespace_now_ns());
	return r;
}

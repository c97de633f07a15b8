/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control files: one write(2) is one command. It is run on the pool, and the write answered when it is done: what goes wrong is the write's
 * error, since shells look at no other. They can't be read, are empty and look the same for ever.
 */
#ifndef WALFS_CONTROL_H
#define WALFS_CONTROL_H

#include "handle.h"

/* A command being run. */
struct control_write {
	struct job job;
	struct handle *handle; /* its slot is the stream's, if the file is in one */
	void (*run)(struct control_write *write);
	fuse_req_t req;
	size_t bytes; /* that were written */
	size_t size;  /* of the text: without blanks, tabs and newlines around it */
	char text[];  /* and a NUL */
};

/*
 * Opens the control file `node`. EACCES unless it is opened for writing only. `run` is called for each write, on the pool, and ends with
 * control_answer(), then or later.
 */
void control_open(struct walfs *fs, const struct node *node, void (*run)(struct control_write *write), fuse_req_t req, struct fuse_file_info *fi);

/* Answers the write and frees it. */
void control_answer(struct control_write *write, int result);

/* Mode, size and times of every control file. */
void control_stat(struct stat *st);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What a process inherits from whoever started it, and cannot do with. */
#ifndef WALFS_PROCESS_H
#define WALFS_PROCESS_H

/*
 * First of all, before anything is opened: descriptors 0 to 2 exist, a file that meets RLIMIT_FSIZE fails with EFBIG instead of ending the
 * process, and as many files may be open as the hard limit allows. Negative errno.
 */
int process_init(void);

#endif

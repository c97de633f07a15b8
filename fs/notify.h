/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling a service manager how far the program is: the protocol of sd_notify(3), a datagram to the socket that $NOTIFY_SOCKET names. Without that variable nothing is
 * sent. `status` is for people, and may hold any bytes.
 */
#ifndef WALFS_NOTIFY_H
#define WALFS_NOTIFY_H

/* Mounted. 0, also if nobody wants to know; else negative errno, and a manager that waits for this will give up one day: worth a line in the log. */
int notify_ready(const char *status);

/* About to end. Nobody waits for it, so its failure is of no account. */
void notify_stopping(const char *status);

#endif

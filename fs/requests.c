/* SPDX-License-Identifier: Apache-2.0 */
#include "requests.h"

#include <string.h>

#include "exposition.h"

static const char *const names[REQUEST_KINDS] = {
#define REQUEST_NAME(constant, name) [REQUEST_##constant] = name,
	REQUESTS(REQUEST_NAME)
#undef REQUEST_NAME
};

void requests_put(struct requests *requests, FILE *out)
{
	char label[40];

	exposition_family(out, "walfs_mount_requests_total", "counter", "Requests of the kernel, by operation.");
	for (int kind = 0; kind < REQUEST_KINDS; kind++) {
		snprintf(label, sizeof(label), "operation=\"%s\"", names[kind]);
		exposition_uint(out, "walfs_mount_requests_total", label, NULL, atomic_load_explicit(&requests->counts[kind], memory_order_relaxed));
	}
	exposition_family(out, "walfs_mount_request_errors_total", "counter", "Requests that were answered with an error, by errno.");
	for (int error = 1; error < REQUEST_ERRORS; error++) {
		uint64_t count = atomic_load_explicit(&requests->errors[error], memory_order_relaxed);
		const char *name = strerrorname_np(error);

		if (!count)
			continue;
		snprintf(label, sizeof(label), "errno=\"%s\"", name ? name : "other");
		exposition_uint(out, "walfs_mount_request_errors_total", label, NULL, count);
	}
}

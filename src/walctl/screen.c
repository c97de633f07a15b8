/* SPDX-License-Identifier: Apache-2.0 */
#include "screen.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "text.h"

void screen_init(struct screen *screen, FILE *out)
{
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
	bool is_terminal = isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb");

	*screen = (struct screen){ .out = out, .is_terminal = is_terminal, .in_color = is_terminal && !(no_color && *no_color) };
}

/* The bytes of the first `columns` characters of the line. */
static int cut(const char *line, size_t length, unsigned columns)
{
	size_t bytes = 0;

	while (bytes < length && columns--) {
		size_t one = text_utf8_length(line + bytes);

		bytes += one ? one : 1;
	}
	return (int)(bytes < length ? bytes : length);
}

static void put_line(const struct screen *screen, const char *line, size_t length, unsigned columns)
{
	const char *color = "";

	if (length && (*line == SCREEN_HEADING || *line == SCREEN_ALARM)) {
		color = *line == SCREEN_HEADING ? "\033[1m" : "\033[31m";
		line++;
		length--;
	}
	if (!screen->in_color)
		color = "";
	fprintf(screen->out, "%s%.*s%s%s\n", color, cut(line, length, columns), line, *color ? "\033[0m" : "", screen->is_terminal ? "\033[K" : "");
}

int screen_draw(struct screen *screen, const char *text)
{
	struct winsize size = { 0 };
	unsigned columns = -1u, rows = -1u;

	if (screen->is_terminal) {
		if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row) {
			columns = size.ws_col;
			rows = size.ws_row - 1u; /* the cursor has the last */
		}
		fputs(screen->drawn ? "\033[H" : "\033[2J\033[H", screen->out);
	} else if (screen->drawn) {
		putc('\n', screen->out);
	}
	screen->drawn = true;
	for (unsigned row = 0; *text && row < rows; row++) {
		size_t length = strcspn(text, "\n");

		put_line(screen, text, length, columns);
		text += length + (text[length] == '\n');
	}
	if (screen->is_terminal)
		fputs("\033[J", screen->out);
	return fflush(screen->out);
}

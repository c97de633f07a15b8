/* SPDX-License-Identifier: Apache-2.0 */
/* A page that is drawn again and again in one place of a terminal; elsewhere one page after the other. */
#ifndef WALCTL_SCREEN_H
#define WALCTL_SCREEN_H

#include <stdbool.h>
#include <stdio.h>

struct screen {
	FILE *out;
	bool is_terminal; /* standard output is one that knows how to move the cursor */
	bool in_color;	  /* and nobody has set NO_COLOR */
	bool drawn;
};

void screen_init(struct screen *screen, FILE *out);

/*
 * Shows the text, lines that end with a newline, cut to the terminal's width and height. The first line is shown as `heading`; lines that begin with a control character
 * SCREEN_ALARM are shown without it and as an alarm. Returns what fflush(3) does.
 */
int screen_draw(struct screen *screen, const char *text);

#define SCREEN_HEADING '\001'
#define SCREEN_ALARM '\002'

#endif

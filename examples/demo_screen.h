/* SPDX-License-Identifier: Apache-2.0 */
/* What the demo prints: a transcript with times, a progress line, QR codes. */
#ifndef DEMO_SCREEN_H
#define DEMO_SCREEN_H

#include <stdbool.h>

enum paint { PLAIN, BOLD, DIM, GREEN, RED, YELLOW };

void screen_open(void); /* looks whether this is a terminal; the clock starts */
bool screen_is_tty(void);
const char *paint(enum paint p);                /* empty when there is no colour */
void say(enum paint p, const char *format, ...) /* one line of the transcript */
    __attribute__((format(printf, 2, 3)));
void act(const char *title); /* a heading */
void progress(const char *what, long done, long of);
void progress_end(void);
bool show_qr(const char *text); /* false: it does not fit or there is no libqrencode */

#endif

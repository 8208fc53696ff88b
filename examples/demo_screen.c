/* SPDX-License-Identifier: Apache-2.0 */
#include "demo_screen.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#ifdef HAVE_QRENCODE
#include <qrencode.h>
#endif

#include "demo_child.h"

static struct {
    bool tty, colour, in_progress;
    int64_t began, last_progress;
    long last_quarter;
} screen;

void screen_open(void)
{
    const char *no = getenv("NO_COLOR");

    screen.tty = isatty(STDOUT_FILENO) != 0;
    screen.colour = screen.tty && (no == NULL || *no == 0);
    screen.began = demo_us();
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
}

bool screen_is_tty(void)
{
    return screen.tty;
}

const char *paint(enum paint p)
{
    static const char *const codes[] = { "\033[0m",  "\033[1m",  "\033[2m",
                                         "\033[32m", "\033[31m", "\033[33m" };

    return screen.colour ? codes[p] : "";
}

void say(enum paint p, const char *format, ...)
{
    va_list args;

    progress_end();
    printf("%s%7.3f s%s  %s", paint(DIM), (double)(demo_us() - screen.began) / 1e6, paint(PLAIN),
           paint(p));
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    printf("%s\n", paint(PLAIN));
}

void act(const char *title)
{
    progress_end();
    printf("\n%s%s%s\n", paint(BOLD), title, paint(PLAIN));
}

/* A bar on a terminal, a line for each quarter elsewhere. */
void progress(const char *what, long done, long of)
{
    enum { WIDTH = 40 };
    int64_t now = demo_us();

    if (!screen.tty) {
        long quarter = done * 4 / of;
        if (quarter != screen.last_quarter && quarter > 0 && quarter < 4)
            say(DIM, "%s: %ld of %ld", what, done, of);
        screen.last_quarter = quarter;
        return;
    }
    if (now - screen.last_progress < 50000 && done < of)
        return;
    screen.last_progress = now;
    screen.in_progress = true;
    printf("\r           %s [", what);
    for (long i = 0; i < WIDTH; i++)
        putchar(i < done * WIDTH / of ? '#' : '.');
    printf("] %ld/%ld ", done, of);
    (void)fflush(stdout);
}

void progress_end(void)
{
    if (screen.in_progress)
        printf("\r\033[K");
    screen.in_progress = false;
}

#ifdef HAVE_QRENCODE
static int columns(void)
{
    struct winsize w;

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 200;
}

static bool dark(const QRcode *q, int x, int y)
{
    return x >= 0 && y >= 0 && x < q->width && y < q->width && (q->data[y * q->width + x] & 1) != 0;
}

/* Two rows of modules a line of text; light is drawn, so that it scans on dark terminals. */
bool show_qr(const char *text)
{
    enum { QUIET = 2 };
    static const char *const blocks[] = { "\xe2\x96\x88", "\xe2\x96\x80", "\xe2\x96\x84", " " };
    QRcode *q = QRcode_encodeString(text, 0, QR_ECLEVEL_L, QR_MODE_8, 1);

    if (q == NULL)
        return false;
    bool fits = q->width + 2 * QUIET <= columns();
    for (int y = -QUIET; fits && y < q->width + QUIET; y += 2) {
        for (int x = -QUIET; x < q->width + QUIET; x++)
            fputs(blocks[(dark(q, x, y) ? 2 : 0) + (dark(q, x, y + 1) ? 1 : 0)], stdout);
        putchar('\n');
    }
    QRcode_free(q);
    return fits;
}
#else
bool show_qr(const char *text)
{
    (void)text;
    return false;
}
#endif

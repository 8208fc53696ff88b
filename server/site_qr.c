/* SPDX-License-Identifier: Apache-2.0 */
#include "site.h"

#ifdef HAVE_QRENCODE

#include <qrencode.h>
#include <stdio.h>

#define QUIET 4 /* modules around it: the standard's */

/* A path of all dark modules: those in a row together. */
static void put_path(struct sx_wr *w, const QRcode *qr)
{
    char text[64];

    for (int y = 0; y < qr->width; y++) {
        for (int x = 0; x < qr->width;) {
            int n = 0;
            while (x + n < qr->width && (qr->data[y * qr->width + x + n] & 1) != 0)
                n++;
            if (n > 0) {
                snprintf(text, sizeof(text), "M%d %dh%dv1h-%dz", x + QUIET, y + QUIET, n, n);
                sx_wr_text(w, text);
            }
            x += n > 0 ? n : 1;
        }
    }
}

void sx_site_qr(struct sx_wr *w, const char *text)
{
    char head[256];
    QRcode *qr = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M);

    if (qr == NULL)
        return; /* too long for any */
    int size = qr->width + 2 * QUIET;
    snprintf(head, sizeof(head),
             "<svg class=\"qr\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
             "role=\"img\" aria-label=\"QR code of the address\"><path fill=\"#fff\" "
             "d=\"M0 0h%dv%dH0z\"/><path d=\"",
             size, size, size, size);
    sx_wr_text(w, head);
    put_path(w, qr);
    sx_wr_text(w, "\"/></svg>\n");
    QRcode_free(qr);
}

#else

void sx_site_qr(struct sx_wr *w, const char *text)
{
    (void)w;
    (void)text;
}

#endif

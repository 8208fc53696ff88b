/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages of the static site (protocol/smp.md section 10): what the server is, where a link that
 * names it leads a browser, and the files by which telephones give such links to the app. They are
 * the program's: the library serves whatever is in the folder.
 */
#ifndef SX_SITE_H
#define SX_SITE_H

#include "config.h"
#include "file.h"

#define SX_SITE_PAGE_MAX ((size_t)1 << 20)

/*
 * Writes the pages into dir, which is made when missing. A page that somebody else has put there
 * stays: only those of an earlier start, of this program or of the reference, are replaced. *kept
 * counts the others. fingerprint: in base64url, of the server's address.
 */
simplex_rc sx_site_write(const char *dir, const struct sx_config *c, const char *fingerprint,
                         unsigned *kept, struct sx_errtext *err) SIMPLEX_CHECK;

/* ---- its parts; what they write is wrong when w->bad ---- */

void sx_site_index(struct sx_wr *w, const struct sx_config *c, const char *fingerprint);
void sx_site_link(struct sx_wr *w);
/* As text of an HTML element, or of an attribute in double quotes. */
void sx_site_escape(struct sx_wr *w, const char *text);
/* An <svg> element, or nothing when there is no library for it. */
void sx_site_qr(struct sx_wr *w, const char *text);
/* smp://fingerprint@hosts[:port]: what users add. Never with the password. */
void sx_site_address(struct sx_wr *w, const struct sx_config *c, const char *fingerprint);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a new smp-server.ini, as `init` writes it (protocol/smp.md section 10). */
#ifndef SX_INI_TEMPLATE_H
#define SX_INI_TEMPLATE_H

#include "base/base.h"

/* NULL: the line is written as a comment that shows what could stand there. */
struct sx_ini_options {
    bool store_log; /* enable and restore_messages */
    bool log_stats;
    const char *password;  /* to create queues */
    const char *host;      /* fqdn or ip, "<hostnames>" when NULL */
    const char *ports;     /* NULL: "5223,443" */
    uint16_t control_port; /* 0: none; with one both passwords are needed */
    const char *control_admin_password, *control_user_password;
    const char *socks_proxy; /* host:port */
    const char *own_domains; /* separated by blanks or commas */
    const char *source_code;
    const char *server_country;
    const char *operator_name, *operator_country, *website;
    const char *hosting, *hosting_country, *hosting_type;
    const char *web_static_path; /* NULL: no site */
    const char *web_cert, *web_key; /* both: HTTPS on port 443; otherwise a comment */
};

/* bad (no memory, or longer than the cap) stays in w. Values are written as given: load the text
 * with sx_config_parse before it becomes a file, which tells when one is wrong. */
void sx_ini_template(struct sx_wr *w, const struct sx_ini_options *o);

#endif

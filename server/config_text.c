/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator reads about values of smp-server.ini. */
#include <stdio.h>

#include "config_keys.h"

static void put_number(struct sx_wr *w, int64_t n)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRId64, n);
    sx_wr_text(w, text);
}

/* ms as seconds without zeros at the end */
static void put_seconds(struct sx_wr *w, int64_t ms)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%" PRId64 ".%03d", ms / 1000, (int)(ms % 1000));

    while (text[n - 1] == '0')
        text[--n] = 0;
    if (text[n - 1] == '.')
        text[n - 1] = 0;
    sx_wr_text(w, text);
}

/* "one", "one or two", "one, two or three" */
static void put_words(struct sx_wr *w, const char *const *words)
{
    for (size_t i = 0; words[i] != NULL; i++) {
        if (i > 0)
            sx_wr_text(w, words[i + 1] == NULL ? " or " : ", ");
        sx_wr_text(w, words[i]);
    }
}

/* ---- what to write ---- */

static void number_remedy(const struct sx_key *k, struct sx_wr *w)
{
    sx_wr_text(w, "a whole number from ");
    put_number(w, k->min);
    sx_wr_text(w, " to ");
    put_number(w, k->max);
}

static void seconds_remedy(const struct sx_key *k, struct sx_wr *w)
{
    sx_wr_text(w, "seconds from ");
    put_seconds(w, k->min);
    sx_wr_text(w, " to ");
    put_seconds(w, k->max);
    sx_wr_text(w, ", with up to three decimals");
}

void sx_key_remedy(const struct sx_key *k, struct sx_wr *w)
{
    static const char *const texts[] = {
        [SX_KEY_BOOL] = "on or off",
        [SX_KEY_PORT] = "a port from 1 to 65535",
        [SX_KEY_PORTS] = "one to eight different ports from 1 to 65535, separated by commas, for "
                         "example 5223,443",
        [SX_KEY_DOMAINS] = "at most 32 domains separated by blanks, each without a dot in front",
        [SX_KEY_PROXY] = "host:port, user:password@host:port, or @host:port for no credentials",
        [SX_KEY_PASSWORD] = "printable characters without blanks, @, : or /, at most 255",
        [SX_KEY_TEXT] = "some text",
        [SX_KEY_PATH] = "a path that starts with /",
        [SX_KEY_URL] = "an address that starts with https:// or http://",
        [SX_KEY_COUNTRY] = "the two letters of the country (ISO 3166), for example SE",
        [SX_KEY_CONTACT] = "a SimpleX address (it starts with simplex:/ or https://)",
        [SX_KEY_EMAIL] = "an e-mail address",
        [SX_KEY_HOSTS] = "host names or IP addresses separated by commas, without port",
        [SX_KEY_OFF] = "off",
        [SX_KEY_ADDRESS] = "an IPv4 or IPv6 address of this machine, 0.0.0.0 or :: for all",
    };

    if (k->type == SX_KEY_NUMBER)
        number_remedy(k, w);
    else if (k->type == SX_KEY_SECONDS)
        seconds_remedy(k, w);
    else if (k->words != NULL)
        put_words(w, k->words);
    else
        sx_wr_text(w, texts[k->type]);
}

/* ---- values ---- */

static void show_number(const struct sx_key *k, int64_t n, struct sx_wr *w)
{
    if (n == 0 && k->absent == NULL) {
        sx_wr_text(w, "none");
        return;
    }
    n /= k->unit == 0 ? 1 : k->unit;
    put_number(w, n);
    if (k->unit_name == NULL)
        return;
    size_t len = strlen(k->unit_name);
    if (n == 1 && k->unit_name[len - 1] == 's')
        len--;
    sx_wr_text(w, " ");
    sx_wr_raw(w, sx_bytes(k->unit_name, len));
}

static void show_domains(const struct sx_config_domains *d, struct sx_wr *w)
{
    if (d->count == 0)
        sx_wr_text(w, "none");
    for (unsigned i = 0; i < d->count; i++) {
        sx_wr_text(w, i > 0 ? " " : "");
        sx_wr_text(w, d->name[i]);
    }
}

static void show_proxy(const struct sx_config_proxy *p, struct sx_wr *w)
{
    if (p->host == NULL) {
        sx_wr_text(w, "none");
        return;
    }
    bool brackets = strchr(p->host, ':') != NULL;
    sx_wr_text(w, brackets ? "[" : "");
    sx_wr_text(w, p->host);
    sx_wr_text(w, brackets ? "]:" : ":");
    put_number(w, p->port);
}

static void show_text(const char *text, struct sx_wr *w)
{
    sx_wr_text(w, text == NULL ? "none" : text);
}

void sx_key_show(const struct sx_key *k, const void *field, struct sx_wr *w)
{
    switch (k->type) {
    case SX_KEY_BOOL:
        sx_wr_text(w, *(const bool *)field ? "on" : "off");
        break;
    case SX_KEY_NUMBER:
        show_number(k, *(const int64_t *)field, w);
        break;
    case SX_KEY_SECONDS:
        put_seconds(w, *(const int64_t *)field);
        sx_wr_text(w, *(const int64_t *)field == 1000 ? " second" : " seconds");
        break;
    case SX_KEY_WORD:
        sx_wr_text(w, k->words[*(const uint8_t *)field]);
        break;
    case SX_KEY_PORT:
        if (*(const uint16_t *)field == 0)
            sx_wr_text(w, "none");
        else
            put_number(w, *(const uint16_t *)field);
        break;
    case SX_KEY_PORTS:
        sx_wr_text(w, ((const struct sx_config_ports *)field)->text);
        break;
    case SX_KEY_DOMAINS:
        show_domains(field, w);
        break;
    case SX_KEY_PROXY:
        show_proxy(field, w);
        break;
    case SX_KEY_PASSWORD:
        sx_wr_text(w, *(char *const *)field == NULL ? "none" : "set");
        break;
    default:
        show_text(*(char *const *)field, w);
    }
}

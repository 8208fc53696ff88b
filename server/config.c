/* SPDX-License-Identifier: Apache-2.0 */
/* Reading smp-server.ini: each line against the table of keys. */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "config_keys.h"
#include "file.h"
#include "ini.h"

#define REPORTS_MAX 100 /* of one file; a file with more is refused */
#define QUOTE_MAX 64    /* bytes of a value that are shown */
#define MESSAGE_MAX 1024

/* Values of the reference that this server refuses, and the way out. */
static const struct refused {
    const char *key, *value, *remedy;
} refused[] = {
    { "store_queues", "database",
      "there is no database store: run `smp-server database export` of the reference, then write "
      "memory" },
    { "store_messages", "journal",
      "there is no journal of the reference's kind: run `smp-server journal export` of the "
      "reference, then write disk" },
    { "store_messages", "database",
      "there is no database store: run `smp-server database export` of the reference, then write "
      "disk" },
};

/* ---- what is reported ---- */

void sx_config_say(struct sx_config_reading *r, enum sx_config_severity severity, unsigned line,
                   const struct sx_key *k, const char *fmt, ...)
{
    char text[MESSAGE_MAX];
    va_list args;
    int n = 0;

    r->failed = r->failed || severity == SX_CONFIG_ERROR;
    if (r->reported > REPORTS_MAX)
        return;
    if (line > 0)
        n = snprintf(text, sizeof text, "%.255s:%u: ", r->file, line);
    else
        n = snprintf(text, sizeof text, "%.255s: ", r->file);
    if (r->reported++ == REPORTS_MAX) {
        r->failed = true;
        severity = SX_CONFIG_ERROR;
        snprintf(text + n, sizeof text - (size_t)n, "there are more faults: mend these first");
    } else {
        if (k != NULL)
            n += snprintf(text + n, sizeof text - (size_t)n, "[%s] %s: ", k->section, k->key);
        va_start(args, fmt);
        vsnprintf(text + n, sizeof text - (size_t)n, fmt, args);
        va_end(args);
    }
    if (r->report != NULL)
        r->report(r->user, severity, line, text);
}

/* Names and values of the file in messages: ASCII, and not too much of it. */
static void quote(simplex_bytes s, char out[QUOTE_MAX + 4])
{
    size_t n = s.len < QUOTE_MAX ? s.len : QUOTE_MAX;

    for (size_t i = 0; i < n; i++)
        out[i] = (char)(s.ptr[i] < ' ' || s.ptr[i] > '~' ? '?' : s.ptr[i]);
    snprintf(out + n, 4, "%s", s.len > n ? "..." : "");
}

/* ---- lines ---- */

static const char *refusal(const struct sx_key *k, simplex_bytes value)
{
    for (size_t i = 0; i < SX_COUNT(refused); i++) {
        if (strcmp(k->key, refused[i].key) == 0 && sx_bytes_eq(value, sx_str(refused[i].value)))
            return refused[i].remedy;
    }
    return NULL;
}

/* Sections of which the reference reads the other keys only when this one is given, or on. */
static const struct gate {
    const char *section, *key;
    const char *value; /* NULL: any */
} gates[] = {
    { "INFORMATION", "source_code", NULL },
    { "INACTIVE_CLIENTS", "disconnect", "on" },
    { "NAMES", "enable", "on" },
};

/* The first one in the last section of the name; empty when there is none. */
static simplex_bytes value_in(simplex_bytes text, const struct gate *g)
{
    simplex_bytes found = { 0 };
    struct sx_ini_item item;
    struct sx_ini ini;
    bool has = false;

    sx_ini_start(&ini, text);
    for (sx_ini_next(&ini, &item); item.kind != SX_INI_END; sx_ini_next(&ini, &item)) {
        if (!sx_bytes_eq(item.section, sx_str(g->section)))
            continue;
        if (item.kind == SX_INI_SECTION) {
            has = false;
        } else if (!has && item.kind == SX_INI_VALUE && sx_bytes_eq(item.key, sx_str(g->key))) {
            found = item.value;
            has = true;
        }
    }
    return has ? found : (simplex_bytes){ 0 };
}

/* A wrong value that the reference does not look at is no reason not to start. */
static enum sx_config_severity severity_of(const struct sx_config_reading *r,
                                           const struct sx_key *k)
{
    for (size_t i = 0; i < SX_COUNT(gates); i++) {
        const struct gate *g = &gates[i];
        if (strcmp(k->section, g->section) != 0 || strcmp(k->key, g->key) == 0)
            continue;
        simplex_bytes v = value_in(r->text, g);
        bool open = g->value == NULL ? v.len > 0 : sx_bytes_eq(v, sx_str(g->value));
        return open ? SX_CONFIG_ERROR : SX_CONFIG_DOUBT;
    }
    return SX_CONFIG_ERROR;
}

/* What sx_key_in_doubt() says of it. */
static void say_doubt(struct sx_config_reading *r, const struct sx_key *k,
                      const struct sx_ini_item *item)
{
    char remedy[256] = "", shown[QUOTE_MAX + 4];
    struct sx_wr w;

    sx_wr_fixed(&w, remedy, sizeof remedy - 1);
    sx_key_remedy(k, &w);
    quote(item->value, shown);
    if (k->type == SX_KEY_OFF)
        sx_config_say(r, SX_CONFIG_DOUBT, item->line, k,
                      "\"%s\" has no effect, SMP over WebSocket is not served: write %s", shown,
                      remedy);
    else if (k->type == SX_KEY_PROXY)
        sx_config_say(r, SX_CONFIG_DOUBT, item->line, k,
                      "the value is missing, 127.0.0.1:9050 is taken: write %s, or # before the "
                      "line",
                      remedy);
    else
        sx_config_say(r, SX_CONFIG_DOUBT, item->line, k, "\"%s\" may be of no use: write %s", shown,
                      remedy);
}

static void say_wrong(struct sx_config_reading *r, const struct sx_key *k,
                      const struct sx_ini_item *item)
{
    char remedy[256] = "", shown[QUOTE_MAX + 4];
    enum sx_config_severity severity = severity_of(r, k);
    const char *refusal_text = refusal(k, item->value);
    struct sx_wr w;

    sx_wr_fixed(&w, remedy, sizeof remedy - 1);
    sx_key_remedy(k, &w);
    quote(item->value, shown);
    if (item->value.len == 0)
        sx_config_say(r, severity, item->line, k,
                      "the value is missing: write %s, or # before the line", remedy);
    else if (refusal_text != NULL)
        sx_config_say(r, severity, item->line, k, "\"%s\": %s", shown, refusal_text);
    else if (k->type == SX_KEY_PASSWORD || k->type == SX_KEY_PROXY) /* never shown */
        sx_config_say(r, severity, item->line, k, "this cannot be used: write %s", remedy);
    else
        sx_config_say(r, severity, item->line, k, "\"%s\" cannot be used: write %s", shown, remedy);
}

static void say_unknown_key(struct sx_config_reading *r, const struct sx_ini_item *item)
{
    char section[QUOTE_MAX + 4], key[QUOTE_MAX + 4], hint[SX_CONFIG_HINT];

    quote(item->section, section);
    quote(item->key, key);
    sx_config_hint_key(item->section, item->key, hint);
    sx_config_say(r, SX_CONFIG_WARNING, item->line, NULL,
                  "[%s] %s: there is no such key, it has no effect%s", section, key,
                  hint[0] != 0 ? hint : "; write # before the line");
}

static bool known_section(simplex_bytes name)
{
    for (size_t i = 0; i < sx_keys_count; i++) {
        if (sx_bytes_eq(name, sx_str(sx_keys[i].section)))
            return true;
    }
    return false;
}

static simplex_rc take_value(struct sx_config_reading *r, const struct sx_ini_item *item)
{
    size_t i = sx_key_find(item->section, item->key);
    const struct sx_key *k = &sx_keys[i];

    if (item->section.len == 0) {
        sx_config_say(r, SX_CONFIG_DOUBT, item->line, NULL,
                      "a setting above the first section has no effect: write [STORE_LOG] or "
                      "another one before it");
        return SIMPLEX_OK;
    }
    if (r->replaced)
        return SIMPLEX_OK;
    if (i == sx_keys_count) {
        if (known_section(item->section))
            say_unknown_key(r, item);
        return SIMPLEX_OK;
    }
    if (r->line[i] != 0) { /* so it is in the reference */
        sx_config_say(r, SX_CONFIG_WARNING, item->line, k,
                      "stands in line %u already: that one counts, remove one of them", r->line[i]);
        return SIMPLEX_OK;
    }
    r->line[i] = item->line;
    void *field = k->offset == SX_KEY_NO_FIELD ? NULL : sx_key_field(k, r->c);
    simplex_rc rc = sx_key_read(k, item->value, field);
    if (rc == SIMPLEX_E_ARG)
        say_wrong(r, k, item);
    else if (rc == SIMPLEX_OK && sx_key_in_doubt(k, item->value))
        say_doubt(r, k, item);
    return rc == SIMPLEX_E_ARG ? SIMPLEX_OK : rc;
}

/* The line where the section begins for the last time; 0: here. */
static unsigned again_in(const struct sx_config_reading *r, const struct sx_ini_item *item)
{
    struct sx_ini_item other;
    struct sx_ini ini;
    unsigned line = 0;

    sx_ini_start(&ini, r->text);
    for (sx_ini_next(&ini, &other); other.kind != SX_INI_END; sx_ini_next(&ini, &other))
        if (other.kind == SX_INI_SECTION && sx_bytes_eq(other.section, item->section))
            line = other.line;
    return line == item->line ? 0 : line;
}

/* The reference keeps the last of two sections with one name and drops the other one whole. */
static void take_section(struct sx_config_reading *r, const struct sx_ini_item *item)
{
    char name[QUOTE_MAX + 4], hint[SX_CONFIG_HINT];

    quote(item->section, name);
    r->replaced = false;
    if (item->problem != NULL)
        sx_config_say(r, SX_CONFIG_DOUBT, item->line, NULL, "%s", item->problem);
    if (!known_section(item->section)) {
        sx_config_hint_section(item->section, hint);
        sx_config_say(r, SX_CONFIG_WARNING, item->line, NULL,
                      "[%s]: there is no such section, its keys have no effect%s", name,
                      hint[0] != 0 ? hint : "; write # before its lines");
        return;
    }
    unsigned again = again_in(r, item);
    r->replaced = again > 0;
    if (r->replaced)
        sx_config_say(r, SX_CONFIG_DOUBT, item->line, NULL,
                      "[%s] stands in line %u again, so its keys here have no effect: write them "
                      "there",
                      name, again);
}

/* ---- the whole ---- */

void sx_config_init(struct sx_config *c)
{
    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < sx_keys_count; i++) {
        const struct sx_key *k = &sx_keys[i];
        if (k->absent == NULL || k->offset == SX_KEY_NO_FIELD)
            continue;
        simplex_rc rc = sx_key_read(k, sx_str(k->absent), sx_key_field(k, c));
        (void)rc; /* a test reads every default */
    }
}

void sx_config_free(struct sx_config *c)
{
    for (size_t i = 0; i < sx_keys_count; i++) {
        if (sx_keys[i].offset != SX_KEY_NO_FIELD)
            sx_key_free(&sx_keys[i], sx_key_field(&sx_keys[i], c));
    }
}

static simplex_rc read_lines(struct sx_config_reading *r)
{
    struct sx_ini_item item;
    struct sx_ini ini;
    simplex_rc rc = SIMPLEX_OK;

    sx_ini_start(&ini, r->text);
    for (sx_ini_next(&ini, &item); rc == SIMPLEX_OK && item.kind != SX_INI_END;
         sx_ini_next(&ini, &item)) {
        if (item.kind == SX_INI_BAD)
            sx_config_say(r, SX_CONFIG_ERROR, item.line, NULL, "%s", item.problem);
        else if (item.kind == SX_INI_JUNK)
            sx_config_say(r, SX_CONFIG_DOUBT, item.line, NULL, "%s", item.problem);
        else if (item.kind == SX_INI_SECTION)
            take_section(r, &item);
        else
            rc = take_value(r, &item);
        if (r->reported > REPORTS_MAX) /* E_ARG by now */
            break;
    }
    return rc;
}

simplex_rc sx_config_parse(const char *file, simplex_bytes text, sx_config_report_fn *report,
                           void *user, struct sx_config *out)
{
    struct sx_config_reading r = {
        .file = file, .report = report, .user = user, .text = text, .c = out
    };

    sx_config_init(out);
    simplex_rc rc = read_lines(&r);
    if (rc == SIMPLEX_OK)
        rc = sx_config_check(&r);
    if (rc == SIMPLEX_OK && r.failed)
        rc = SIMPLEX_E_ARG;
    if (rc != SIMPLEX_OK)
        sx_config_free(out);
    return rc;
}

/* ---- the file ---- */

static simplex_rc say_unreadable(struct sx_config_reading *r, int e)
{
    const char *why = sx_file_error(e);

    if (e == ENOENT)
        why = "there is no such file: restore it from a backup, or run `smp-server init` for a new "
              "server";
    else if (e == EACCES)
        why = "it may not be read: start as the user who owns it";
    else if (e == EFBIG)
        why = "it is longer than 1 MiB: this is no smp-server.ini";
    sx_config_say(r, SX_CONFIG_ERROR, 0, NULL, "%s", why);
    return SIMPLEX_E_SYSTEM;
}

simplex_rc sx_config_read(const char *path, sx_config_report_fn *report, void *user,
                          struct sx_config *out)
{
    struct sx_config_reading r = { .file = path, .report = report, .user = user, .c = out };
    simplex_rc rc;

    memset(out, 0, sizeof *out);
    FILE *f = sx_file_open(path);
    if (f == NULL)
        return say_unreadable(&r, errno);
    (void)setvbuf(f, NULL, _IONBF, 0); /* passwords: no copy that nobody wipes */
    uint8_t *text = sx_malloc(SX_CONFIG_FILE_MAX + 1);
    size_t n = text == NULL ? 0 : fread(text, 1, SX_CONFIG_FILE_MAX + 1, f);
    int e = errno;
    bool failed = ferror(f) != 0;
    (void)fclose(f); /* it was only read */
    if (text == NULL)
        return SIMPLEX_E_NOMEM;
    if (failed || n > SX_CONFIG_FILE_MAX)
        rc = say_unreadable(&r, failed ? e : EFBIG);
    else
        rc = sx_config_parse(path, sx_bytes(text, n), report, user, out);
    sx_free_secret(text, SX_CONFIG_FILE_MAX + 1); /* passwords were in it */
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli_stage.h"

#include <signal.h>
#include <stdio.h>

#include "file.h"
#include "support/free_port.h"

uint16_t port;

void expect(const char *const *args, const char *input, int status, const char *text)
{
    program_expect(SMP_SERVER, args, input, status, text);
}

bool has_file(const char *name)
{
    return sx_file_exists(config_dir, name);
}

char *read_text(const char *name)
{
    struct sx_errtext none = { 0 };
    struct sx_wr w;

    sx_wr_init(&w, 1 << 20);
    assert_int_equal(sx_file_read(config_dir, name, &w, &none), SIMPLEX_OK);
    char *text = vec_keep(w.len + 1);
    memcpy(text, w.p, w.len);
    text[w.len] = 0;
    sx_wr_free(&w);
    return text;
}

void write_text(const char *name, const char *text)
{
    struct sx_errtext none = { 0 };

    assert_int_equal(sx_file_write(config_dir, name, sx_str(text), 0600, &none), SIMPLEX_OK);
}

unsigned set_line(const char *key, const char *line)
{
    char *text = read_text("smp-server.ini"), *out = vec_keep(strlen(text) + strlen(line) + 2);
    unsigned number = 0, found = 0;
    size_t len = 0;

    for (const char *p = text; *p != 0;) {
        size_t n = strcspn(p, "\n") + 1;
        bool is = strncmp(p, key, strlen(key)) == 0 && p[strlen(key)] == ':';
        number++;
        if (is)
            found = number;
        len +=
            (size_t)(is ? sprintf(out + len, "%s\n", line) : sprintf(out + len, "%.*s", (int)n, p));
        p += n;
    }
    assert_int_not_equal(found, 0);
    write_text("smp-server.ini", out);
    return found;
}

void read_config(struct sx_config *c)
{
    char path[160];

    snprintf(path, sizeof(path), "%s/smp-server.ini", config_dir);
    assert_int_equal(sx_config_read(path, NULL, NULL, c), SIMPLEX_OK);
}

void init_server(void)
{
    char line[64];

    expect(ARG("init", "-y", "--no-password", "-n", "smp.example.org"), NULL, 0,
           "Server initialized, please provide additional server information in ");
    port = free_port();
    snprintf(line, sizeof(line), "port: %u", port);
    set_line("port", line);
}

void start_server(struct program *p)
{
    program_run(p, SMP_SERVER, ARG("start"), NULL);
    if (!program_read(p, "creating new queues"))
        fail_msg("%s", p->text);
}

void stop_server(struct program *p, int signal_no)
{
    assert_int_equal(kill(p->pid, signal_no), 0);
    int status = program_end(p);
    if (status != 0 || strstr(p->text, "Server stopped.") == NULL)
        fail_msg("exit %d: %s", status, p->text);
}

const char *printed(const struct program *p, const char *name)
{
    const char *at = strstr(p->text, name);

    if (at == NULL)
        fail_msg("no %s in: %s", name, p->text);
    at += strlen(name);
    size_t n = strcspn(at, "\n");
    char *copy = vec_keep(n + 1);
    memcpy(copy, at, n);
    copy[n] = 0;
    return copy;
}

static struct sx_server address_of(const struct program *p, simplex_bytes *password)
{
    const char *text = printed(p, "Server address: ");
    struct sx_server address;

    if (sx_server_parse(sx_str(text), &address, password) != SIMPLEX_OK)
        fail_msg("no address: %s", text);
    return address;
}

void open_client(const struct program *p, struct smp_peer *c)
{
    simplex_bytes password;
    struct sx_server address = address_of(p, &password);
    struct smp_peer_cfg cfg = { .port = sx_server_port(&address), .key_hash = address.key_hash };

    assert_int_equal(smp_peer_open(c, &cfg), SIMPLEX_OK);
}

void assert_served(const struct program *p, const char *password)
{
    struct sx_cmd ping = { .tag = SX_PING };
    simplex_bytes got;
    struct smp_peer c;

    struct sx_server address = address_of(p, &got);
    vec_assert_eq(got, sx_str(password), "password");
    assert_int_equal(sx_server_port(&address), port);
    open_client(p, &c);
    const struct sx_rsp *r = smp_peer_cmd(&c, NULL, sx_bytes(NULL, 0), &ping);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_PONG);
    smp_peer_close(&c);
}

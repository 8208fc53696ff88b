/* SPDX-License-Identifier: Apache-2.0 */
/* init: certificates and smp-server.ini. */
#include "cli_init.h"

#include <unistd.h>

#include "identity.h"

#define DEFAULT_HOST "127.0.0.1"

bool sx_cli_password_ok(const char *password)
{
    size_t n = strlen(password);

    for (size_t i = 0; i < n; i++)
        if (password[i] <= ' ' || password[i] > '~' || strchr("@:/", password[i]) != NULL)
            return false;
    return n > 0 && n <= 255;
}

void sx_cli_random_password(char to[SX_PASSWORD_SIZE])
{
    uint8_t bytes[32];
    struct sx_wr w;

    sx_random(bytes, sizeof(bytes));
    sx_wr_fixed(&w, to, SX_PASSWORD_SIZE);
    sx_b64url_encode(&w, sx_bytes(bytes, sizeof(bytes)));
    sx_wr_u8(&w, 0);
    sx_wipe(bytes, sizeof(bytes));
}

/* ---- before anything is written ---- */

static int check_new(const struct sx_cli *c)
{
    static const struct {
        enum sx_path path;
        const char *what;
    } files[] = {
        { SX_PATH_CA_KEY, "identity" },     { SX_PATH_CA_CRT, "identity" },
        { SX_PATH_SERVER_CRT, "identity" }, { SX_PATH_FINGERPRINT, "identity" },
        { SX_PATH_STORE_LOG, "queues" },    { SX_PATH_MESSAGES, "messages" },
    };
    const char *ini = c->paths.path[SX_PATH_INI];

    if (access(ini, F_OK) == 0) {
        fprintf(stderr,
                "Error: server is already initialized (%s exists).\nRun `smp-server start`.\n",
                ini);
        return SX_CLI_FAILED;
    }
    for (size_t i = 0; i < SX_COUNT(files); i++)
        if (access(c->paths.path[files[i].path], F_OK) == 0)
            return sx_cli_fail(SX_CLI_FAILED,
                               "%s exists: there are %s of a server without its smp-server.ini. "
                               "Restore %s from a backup; or move the files away, or `smp-server "
                               "delete` them, to start with a new server",
                               c->paths.path[files[i].path], files[i].what, ini);
    return SX_CLI_GO_ON;
}

/* smp-server.ini holds for a start in any directory. Returns `path`, or `to`; NULL: it cannot. */
static const char *absolute(const char *path, char to[SX_PATH_MAX])
{
    char here[SX_PATH_MAX];

    if (path[0] == '/')
        return path;
    return getcwd(here, sizeof(here)) != NULL && sx_path_join(to, here, path) ? to : NULL;
}

static int decide_web(struct sx_cli_init *i)
{
    const char *www = absolute(i->cli->paths.path[SX_PATH_WWW_DIR], i->web_path);
    const char *cert = absolute(i->cli->paths.path[SX_PATH_WEB_CRT], i->web_cert);
    const char *key = absolute(i->cli->paths.path[SX_PATH_WEB_KEY], i->web_key);

    if (i->disable_web) {
        i->ini.web_static_path = NULL;
        return SX_CLI_GO_ON;
    }
    if (www == NULL || cert == NULL || key == NULL)
        return sx_cli_fail(SX_CLI_USAGE,
                           "the name of this directory is unknown or too long: give --config and "
                           "--state as paths that start with /");
    if (i->ini.web_static_path == NULL)
        i->ini.web_static_path = www;
    /* HTTPS at once if the files of its certificate are there: without them a start would be
     * refused. */
    if (access(cert, R_OK) == 0 && access(key, R_OK) == 0) {
        i->ini.web_cert = cert;
        i->ini.web_key = key;
    }
    return SX_CLI_GO_ON;
}

static int decide(struct sx_cli_init *i)
{
    const char *host = i->fqdn != NULL ? i->fqdn : i->ip;

    i->ini.store_log = !i->no_store_log;
    i->ini.host = host != NULL && strcmp(host, DEFAULT_HOST) != 0 ? host : NULL;
    if (!i->no_password && i->ini.password == NULL) {
        sx_cli_random_password(i->random_password);
        i->ini.password = i->random_password;
    }
    if (i->ini.control_port != 0) {
        sx_cli_random_password(i->admin_password);
        sx_cli_random_password(i->user_password);
        i->ini.control_admin_password = i->admin_password;
        i->ini.control_user_password = i->user_password;
    }
    return decide_web(i);
}

static void report(void *user, enum sx_config_severity severity, unsigned line, const char *text)
{
    bool *wrong = user;

    (void)line;
    if (severity == SX_CONFIG_WARNING)
        return;
    fprintf(stderr, "Error: an option or an answer is wrong: %s\n", text);
    *wrong = true;
}

/* The text of smp-server.ini, read as start will read it; a new file has nothing in doubt. */
static int make_ini(const struct sx_cli_init *i, struct sx_wr *text, struct sx_config *config)
{
    bool wrong = false;

    sx_wr_init(text, SX_CONFIG_FILE_MAX);
    sx_ini_template(text, &i->ini);
    if (text->bad)
        return sx_cli_fail(SX_CLI_USAGE, "options and answers must be one line of text each");
    simplex_rc rc = sx_config_parse("smp-server.ini", sx_wr_bytes(text), report, &wrong, config);
    if (rc == SIMPLEX_OK && !wrong)
        return SX_CLI_GO_ON;
    sx_config_free(config);
    return sx_cli_fail(SX_CLI_USAGE, "nothing was written: correct it and run init again");
}

/* ---- writing ---- */

/* The first of the host names, for the certificate. */
static void first_host(const struct sx_cli_init *i, char to[SX_ANSWER_SIZE])
{
    const char *host = i->fqdn != NULL ? i->fqdn : i->ip != NULL ? i->ip : DEFAULT_HOST;

    snprintf(to, SX_ANSWER_SIZE, "%.*s", (int)strcspn(host, ", \t"), host);
}

/* smp-server.ini last: with it the server is initialized. */
static int write_all(const struct sx_cli_init *i, const struct sx_wr *text, struct sx_identity *id)
{
    char host[SX_ANSWER_SIZE];
    char *const *path = i->cli->paths.path;
    char error[1024] = "";
    struct sx_errtext err = { error, sizeof(error) };

    first_host(i, host);
    simplex_rc rc = sx_dir_make(path[SX_PATH_CONFIG_DIR], 0700, &err);
    if (rc == SIMPLEX_OK)
        rc = sx_dir_make(path[SX_PATH_STATE_DIR], 0700, &err);
    if (rc == SIMPLEX_OK)
        rc = sx_identity_make(id, path[SX_PATH_CONFIG_DIR], i->alg, host, &err);
    if (rc != SIMPLEX_OK)
        return sx_cli_fail(SX_CLI_FAILED, "%s", error[0] != 0 ? error : simplex_rc_text(rc));
    rc = sx_file_write(path[SX_PATH_CONFIG_DIR], "smp-server.ini", sx_wr_bytes(text), 0600, &err);
    if (rc == SIMPLEX_OK)
        return SX_CLI_GO_ON;
    sx_identity_wipe(id);
    return sx_cli_fail(SX_CLI_FAILED, "%s", error);
}

static void print_done(const struct sx_cli *c, const struct sx_identity *id,
                       const struct sx_config *config)
{
    uint8_t buf[64];
    struct sx_wr w;

    sx_wr_fixed(&w, buf, sizeof(buf));
    sx_identity_print(id->fingerprint, &w);
    buf[w.len - 1] = 0;
    printf("Server initialized, please provide additional server information in %s.\n"
           "Run `smp-server start` to start server.\n",
           c->paths.path[SX_PATH_INI]);
    printf(
        "----------\n"
        "The private key of the CA is the server's identity: keep it safe, away from the server.\n"
        "If the server is broken into, it signs a new certificate (`smp-server cert`), and all\n"
        "clients stay connected to the same address.\n"
        "Copy it to another machine and delete it here: %s\n"
        "----------\n",
        c->paths.path[SX_PATH_CA_KEY]);
    sx_cli_banner_identity((const char *)buf, config);
}

/* As the reference does: what would never be shown is not taken. */
static int check_information(const struct sx_cli_init *i)
{
    const struct sx_ini_options *o = &i->ini;
    bool any = o->server_country != NULL || o->operator_name != NULL ||
               o->operator_country != NULL || o->website != NULL || o->hosting != NULL ||
               o->hosting_country != NULL;

    if (any && !i->has_source && o->source_code == NULL)
        return sx_cli_fail(SX_CLI_USAGE,
                           "information about the server is shown with its source code alone: give "
                           "--source-code as well");
    if (o->operator_country != NULL && o->operator_name == NULL)
        return sx_cli_fail(SX_CLI_USAGE, "--operator-country needs --operator");
    if (o->hosting_country != NULL && o->hosting == NULL)
        return sx_cli_fail(SX_CLI_USAGE, "--hosting-country needs --hosting");
    return SX_CLI_GO_ON;
}

static int run(struct sx_cli_init *i)
{
    struct sx_config config;
    struct sx_identity id;
    struct sx_wr text;
    int status = check_new(i->cli);

    if (status == SX_CLI_GO_ON && !i->yes)
        status = sx_cli_init_ask(i);
    if (status != SX_CLI_GO_ON)
        return status;
    if ((status = check_information(i)) != SX_CLI_GO_ON)
        return status;
    if ((status = decide(i)) != SX_CLI_GO_ON)
        return status;
    status = make_ini(i, &text, &config);
    if (status == SX_CLI_GO_ON) {
        status = write_all(i, &text, &id);
        if (status == SX_CLI_GO_ON) {
            print_done(i->cli, &id, &config);
            sx_identity_wipe(&id);
            status = SX_CLI_OK;
        }
        sx_config_free(&config);
    }
    sx_wr_free(&text);
    return status;
}

int sx_cli_init(struct sx_cli *c, int argc, char **argv)
{
    struct sx_cli_init i = { .cli = c, .alg = SX_ED25519 };

    int status = sx_cli_init_options(&i, argc, argv);
    if (status == SX_CLI_GO_ON)
        status = sx_cli_paths(c);
    if (status == SX_CLI_GO_ON)
        status = run(&i);
    sx_wipe(&i, sizeof(i));
    return status;
}

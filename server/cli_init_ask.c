/* SPDX-License-Identifier: Apache-2.0 */
/* The questions of init. Enter takes what the option said, or the default. */
#include <ctype.h>

#include "cli_init.h"

/* One line without its end and the blanks around it; false when there is none. */
static bool read_answer(char to[SX_ANSWER_SIZE])
{
    fflush(stdout);
    if (fgets(to, SX_ANSWER_SIZE, stdin) == NULL)
        return false;
    size_t n = strcspn(to, "\r\n"), at = strspn(to, " \t");
    bool whole = to[n] != 0 || feof(stdin);
    while (n > at && (to[n - 1] == ' ' || to[n - 1] == '\t'))
        n--;
    to[n] = 0;
    memmove(to, to + at, n + 1 - at);
    return whole;
}

static int no_answer(void)
{
    printf("\n");
    return sx_cli_fail(SX_CLI_FAILED, "no answer: run it in a terminal, or use options and -y");
}

static int ask_yes(const char *question, bool *value)
{
    char answer[SX_ANSWER_SIZE];

    for (;;) {
        printf("%s (%s): ", question, *value ? "Yn" : "yN");
        if (!read_answer(answer))
            return no_answer();
        if (answer[0] == 0)
            return SX_CLI_GO_ON;
        if (answer[1] == 0 && strchr("yYnN", answer[0]) != NULL) {
            *value = tolower((unsigned char)answer[0]) == 'y';
            return SX_CLI_GO_ON;
        }
        printf("Please answer y or n.\n");
    }
}

static int ask_password(struct sx_cli_init *i)
{
    for (;;) {
        printf("Password to create queues: 'r' for a random one%s, 'n' for none (anybody may), or "
               "enter it: ",
               i->no_password || i->ini.password != NULL ? "" : " (default)");
        if (!read_answer(i->password_answer))
            return no_answer();
        const char *answer = i->password_answer;
        if (answer[0] == 0)
            return SX_CLI_GO_ON;
        i->no_password = strcmp(answer, "n") == 0;
        i->ini.password = NULL;
        if (i->no_password || strcmp(answer, "r") == 0)
            return SX_CLI_GO_ON;
        if (sx_cli_password_ok(answer)) {
            i->ini.password = answer;
            return SX_CLI_GO_ON;
        }
        printf("Please use printable ASCII characters, without space, @, : and /.\n");
    }
}

/* *value becomes the answer, unless that is empty. */
static int ask_text(const char *question, const char *shown, char buf[SX_ANSWER_SIZE],
                    const char **value)
{
    printf("%s (%s): ", question, *value != NULL ? *value : shown);
    if (!read_answer(buf))
        return no_answer();
    if (buf[0] != 0)
        *value = buf;
    return SX_CLI_GO_ON;
}

int sx_cli_init_ask(struct sx_cli_init *i)
{
    const char *host = i->fqdn != NULL ? i->fqdn : i->ip;
    bool store_log = !i->no_store_log;

    printf("SMP server will be initialized in\n  %s (configuration)\n  %s (queues and messages)\n"
           "Press Enter to go on. ",
           i->cli->paths.path[SX_PATH_CONFIG_DIR], i->cli->paths.path[SX_PATH_STATE_DIR]);
    if (!read_answer(i->host_answer))
        return no_answer();
    int status = ask_yes("Keep queues and messages when the server is restarted", &store_log);
    i->no_store_log = !store_log;
    if (status == SX_CLI_GO_ON)
        status = ask_yes("Write daily statistics", &i->ini.log_stats);
    if (status == SX_CLI_GO_ON)
        status = ask_password(i);
    if (status == SX_CLI_GO_ON)
        status = ask_text("Host name or IP address of the server, for the certificate and address",
                          "127.0.0.1", i->host_answer, &host);
    i->fqdn = host;
    if (status == SX_CLI_GO_ON)
        status = ask_text("URI of the source code you run", "none", i->source_answer,
                          &i->ini.source_code);
    if (status == SX_CLI_GO_ON && !i->disable_web)
        status =
            ask_text("Folder of the pages about the server", i->cli->paths.path[SX_PATH_WWW_DIR],
                     i->web_answer, &i->ini.web_static_path);
    return status;
}

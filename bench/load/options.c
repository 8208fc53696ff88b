/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of smp-load. */
#include "bench/load/load.h"

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>

static const char usage[] =
    "Usage: smp-load [options] smp://<fingerprint>[:<password>]@<host>[:<port>]\n"
    "\n"
    "Puts load on an SMP server and measures it. The server may be any: what is needed is its\n"
    "address. Use it on servers of your own only.\n"
    "\n"
    "  -m, --mode MODE      cycle      SEND, MSG, ACK over and over (default)\n"
    "                       idle       connections that only stay; a PING on each at the end\n"
    "                       storm      all connections at once, closed again, over and over\n"
    "                       subscribe  SUB of every queue, over and over\n"
    "  -c, --connections N  default 2; cycle: half of them send, the other half receives\n"
    "  -q, --queues N       queues of a connection that receives; default 1\n"
    "  -w, --window N       cycle: messages in flight in a queue, 1 to 100; default 1\n"
    "  -f, --in-flight N    cycle: messages in flight in all queues, which take turns; default 0:\n"
    "                       as many as the windows allow\n"
    "  -b, --burst N        cycle: messages that a queue sends at a time; default 1\n"
    "  -d, --duration S     seconds of the run itself; default 10\n"
    "  -n, --messages N     cycle: ends after so many messages too\n"
    "  -s, --size BYTES     of a message, at least 16; default: the most that the version allows\n"
    "  -t, --threads N      threads of this program; default 1. cycle, more than pairs: senders\n"
    "                       and recipients on threads of their own\n"
    "  -j, --parallel N     connections being made at a time; default 100; 0: all; storm: all\n"
    "  -T, --timeout S      for a connection, and for answers at the end; default 45\n"
    "  -p, --password TEXT  for creating queues, when it is not part of the address\n"
    "      --check          cycle: decrypt what arrives and compare it with what was sent\n"
    "      --min-version N, --max-version N   SMP versions to agree on; 6 to 19\n"
    "      --socks PORT     reach the server through the SOCKS5 proxy on this port (Tor: 9050)\n"
    "      --json           the result as JSON on the standard output\n"
    "  -h, --help, --version\n"
    "\n"
    "While it runs it says every second, on the standard error, how far it is. Ctrl-C ends the\n"
    "run, and the result of what was done is printed.\n"
    "Exit status: 0 everything was answered; 1 the run was not possible; 2 wrong command line;\n"
    "3 there were errors, which are listed by kind.\n";

enum { OPT_CHECK = 256, OPT_MIN, OPT_MAX, OPT_SOCKS, OPT_JSON, OPT_VERSION };

static const struct option options[] = {
    { "mode", required_argument, NULL, 'm' },
    { "connections", required_argument, NULL, 'c' },
    { "queues", required_argument, NULL, 'q' },
    { "window", required_argument, NULL, 'w' },
    { "in-flight", required_argument, NULL, 'f' },
    { "burst", required_argument, NULL, 'b' },
    { "duration", required_argument, NULL, 'd' },
    { "messages", required_argument, NULL, 'n' },
    { "size", required_argument, NULL, 's' },
    { "threads", required_argument, NULL, 't' },
    { "parallel", required_argument, NULL, 'j' },
    { "timeout", required_argument, NULL, 'T' },
    { "password", required_argument, NULL, 'p' },
    { "check", no_argument, NULL, OPT_CHECK },
    { "min-version", required_argument, NULL, OPT_MIN },
    { "max-version", required_argument, NULL, OPT_MAX },
    { "socks", required_argument, NULL, OPT_SOCKS },
    { "json", no_argument, NULL, OPT_JSON },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, OPT_VERSION },
    { NULL, 0, NULL, 0 },
};

static const struct limits { /* of the options that take a number */
    int opt;
    const char *name;
    unsigned long min, max;
} limits[] = {
    { 'c', "--connections", 1, 1000000 },
    { 'q', "--queues", 1, 1000000 },
    { 'w', "--window", 1, LOAD_WINDOW_MAX },
    { 'f', "--in-flight", 0, 100000000 },
    { 'b', "--burst", 1, LOAD_WINDOW_MAX },
    { 'd', "--duration", 1, 1000000 },
    { 'n', "--messages", 1, 1000000000000 },
    { 's', "--size", 16, 16088 },
    { 't', "--threads", 1, LOAD_THREADS_MAX },
    { 'j', "--parallel", 0, 1000000 },
    { 'T', "--timeout", 1, 3600 },
    { OPT_MIN, "--min-version", SX_SMP_MIN, SX_SMP_MAX },
    { OPT_MAX, "--max-version", SX_SMP_MIN, SX_SMP_MAX },
    { OPT_SOCKS, "--socks", 1, 65535 },
};

static bool number(int opt, const char *text, unsigned long *out)
{
    const struct limits *l = limits;
    char *end;

    while (l->opt != opt)
        l++;
    errno = 0;
    *out = strtoul(text, &end, 10);
    if (errno == 0 && *text >= '0' && *text <= '9' && *end == 0 && *out >= l->min && *out <= l->max)
        return true;
    fprintf(stderr, "smp-load: %s takes a number from %lu to %lu, not \"%s\"\n", l->name, l->min,
            l->max, text);
    return false;
}

static bool take_number(struct load_options *o, int opt, const char *text)
{
    unsigned long n;

    if (!number(opt, text, &n))
        return false;
    switch (opt) {
    case 'c':
        o->connections = (unsigned)n;
        break;
    case 'q':
        o->queues = (unsigned)n;
        break;
    case 'w':
        o->window = (unsigned)n;
        break;
    case 'f':
        o->in_flight = (unsigned)n;
        break;
    case 'b':
        o->burst = (unsigned)n;
        break;
    case 'd':
        o->seconds = (double)n;
        break;
    case 'n':
        o->messages = n;
        break;
    case 's':
        o->size = (unsigned)n;
        break;
    case 't':
        o->threads = (unsigned)n;
        break;
    case 'j':
        o->parallel = (unsigned)n;
        break;
    case 'T':
        o->timeout_ms = (int64_t)n * 1000;
        break;
    case OPT_MIN:
        o->min = (uint16_t)n;
        break;
    case OPT_MAX:
        o->max = (uint16_t)n;
        break;
    default:
        o->socks = true;
        o->socks_port = (uint16_t)n;
        break;
    }
    return true;
}

static bool take_mode(struct load_options *o, const char *text)
{
    for (enum load_mode m = LOAD_CYCLE; m <= LOAD_SUBSCRIBE; m++) {
        if (strcmp(text, load_mode_name(m)) == 0) {
            o->mode = m;
            return true;
        }
    }
    fprintf(stderr, "smp-load: --mode is cycle, idle, storm or subscribe, not \"%s\"\n", text);
    return false;
}

/* -1: go on. */
static int take(struct load_options *o, bool *json, int opt, const char *arg)
{
    switch (opt) {
    case 'm':
        return take_mode(o, arg) ? -1 : 2;
    case 'p':
        o->password = sx_str(arg);
        if (sx_password_valid(o->password))
            return -1;
        fprintf(stderr, "smp-load: --password takes printable ASCII without space, @, : and /\n");
        return 2;
    case OPT_CHECK:
        o->check = true;
        return -1;
    case OPT_JSON:
        *json = true;
        return -1;
    case 'h':
        fputs(usage, stdout);
        return 0;
    case OPT_VERSION:
        printf("smp-load %s, SMP versions %d..%d\n", simplex_version(), SX_SMP_MIN, SX_SMP_MAX);
        return 0;
    case '?':
        fputs("Try smp-load --help\n", stderr);
        return 2;
    default:
        return take_number(o, opt, arg) ? -1 : 2;
    }
}

static int take_address(struct load_options *o, const char *text)
{
    simplex_bytes password;

    if (sx_server_parse(sx_str(text), &o->server, &password) != SIMPLEX_OK) {
        fprintf(stderr,
                "smp-load: \"%s\" is not the address of an SMP server: "
                "smp://<fingerprint>[:<password>]@<host>[:<port>], with one port at most\n",
                text);
        return 2;
    }
    if (o->password.len == 0)
        o->password = password;
    return -1;
}

static int check(struct load_options *o)
{
    if (o->min != 0 && o->max != 0 && o->min > o->max) {
        fputs("smp-load: --min-version is above --max-version\n", stderr);
        return 2;
    }
    if (o->mode == LOAD_CYCLE && o->connections % 2 != 0) {
        fputs("smp-load: cycles need pairs: give an even number of --connections\n", stderr);
        return 2;
    }
    if (o->burst > o->window) {
        fputs("smp-load: --burst is more than --window lets be in flight\n", stderr);
        return 2;
    }
    if (o->threads > o->connections)
        o->threads = o->connections;
    return -1;
}

int load_parse(int argc, char **argv, struct load_options *o, bool *json)
{
    int opt, status;

    *json = false;
    *o = (struct load_options){ .mode = LOAD_CYCLE,
                                .connections = 2,
                                .queues = 1,
                                .threads = 1,
                                .window = 1,
                                .burst = 1,
                                .parallel = 100,
                                .size = SX_BLOCK,
                                .seconds = 10,
                                .timeout_ms = 45000 };
    while ((opt = getopt_long(argc, argv, "m:c:q:w:f:b:d:n:s:t:j:T:p:h", options, NULL)) != -1)
        if ((status = take(o, json, opt, optarg)) >= 0)
            return status;
    if (optind + 1 != argc) {
        fputs("smp-load: give the address of one server\nTry smp-load --help\n", stderr);
        return 2;
    }
    if ((status = take_address(o, argv[optind])) >= 0)
        return status;
    return check(o);
}

bool load_resolve(struct sx_server *s)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
    struct sx_host *h = &s->hosts[0];
    char text[SX_HOST_MAX + 1];

    if (h->kind != SX_HOST_NAME)
        return true;
    if (getaddrinfo(h->text, NULL, &hints, &list) != 0)
        return false;
    bool ok = getnameinfo(list->ai_addr, list->ai_addrlen, text, sizeof(text), NULL, 0,
                          NI_NUMERICHOST) == 0 &&
              sx_host_parse(sx_str(text), h) == SIMPLEX_OK;
    freeaddrinfo(list);
    return ok;
}

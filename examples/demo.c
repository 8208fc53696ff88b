/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole path in one program: a server on a loopback port, two agents as processes of their
 * own, an invitation link, messages both ways, kill -9 in the middle, a tour of what else there is,
 * and an account of it all.
 */
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "demo_child.h"
#include "demo_ledger.h"
#include "demo_screen.h"
#include "demo_tour.h"
#include "simplex/agent.h"
#include "simplex/server.h"

enum { ALICE, BOB };
enum { QUIET_MS = 300, PATIENCE_US = 60000000, KILLS_MAX = 20 };

static const char usage[] =
    "Usage: demo [--messages N] [--window N] [--kills N] [--qr] [--keep]\n"
    "\n"
    "Starts an SMP server on a loopback port and two agents with encrypted databases, connects\n"
    "them by an invitation link and exchanges messages. Both agents are killed (kill -9) and\n"
    "reopened in the middle. Then agents in this process show what else there is.\n"
    "\n"
    "  --messages N  numbered messages each way (default 1000)\n"
    "  --window N    of them on their way at a time (default 32)\n"
    "  --kills N     how often both agents are killed (default 1, at most 20)\n"
    "  --qr          print the link as a QR code even when this is not a terminal\n"
    "  --keep        keep the databases and print where they are\n"
    "  --help        this text\n"
    "\n"
    "Exit status: 0 if every message arrived exactly once and in order and every step worked, 1\n"
    "if not, 2 for a wrong command line.\n";

struct side {
    struct child child;
    struct ledger got;
    char link[DEMO_LINE], info[256], said[512];
    bool open, confirmed, connected, pq;
    bool counted;
    long noise[5]; /* PINGs, loops, repeats, bytes, queues */
    int64_t said_at;
    int64_t sent; /* id of the last SENT */
};

static struct demo {
    long messages, window, kills;
    bool qr, keep;
    char program[1024], dir[256], address[512];
    simplex_server *server;
    struct side side[2];
    int64_t killed[KILLS_MAX];
    size_t n_killed;
    int64_t load_began, load_ended, down_us;
    int64_t last_line;
    bool failed;
} demo;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_no)
{
    (void)signal_no;
    interrupted = 1;
}

static bool fail(const char *text)
{
    say(RED, "%s", text);
    demo.failed = true;
    return false;
}

/* ---- what the agents tell ---- */

static void copy(char *to, size_t size, const char *from)
{
    (void)snprintf(to, size, "%s", from);
}

static void on_msg(struct side *s, const char *text)
{
    long long at;
    int body = 0;

    if (strstr(text, " load ") != NULL) {
        ledger_take(&s->got, text);
    } else if (sscanf(text, "%lld %*d %*d %n", &at, &body) == 1 && body > 0) {
        s->said_at = at;
        copy(s->said, sizeof s->said, text + body);
    }
}

static void on_line(void *user, char *line)
{
    struct side *s = user;
    char *text = strchr(line, ' ');
    size_t n = text != NULL ? (size_t)(text - line) : strlen(line);

    demo.last_line = demo_us();
    text = text != NULL ? text + 1 : line + n;
    line[n] = 0;
    if (strcmp(line, "MSG") == 0) {
        on_msg(s, text);
    } else if (strcmp(line, "OPEN") == 0) {
        s->open = true;
    } else if (strcmp(line, "LINK") == 0) {
        copy(s->link, sizeof s->link, text);
    } else if (strcmp(line, "CONF") == 0 || strcmp(line, "INFO") == 0) {
        s->confirmed = true;
        copy(s->info, sizeof s->info, text);
    } else if (strcmp(line, "CON") == 0) {
        s->connected = true;
        s->pq = *text == '1';
    } else if (strcmp(line, "SENT") == 0) {
        s->sent++;
    } else if (strcmp(line, "NOISE") == 0) {
        s->counted = sscanf(text, "%ld %ld %ld %ld %ld", &s->noise[0], &s->noise[1], &s->noise[2],
                            &s->noise[3], &s->noise[4]) == 5;
    } else {
        say(RED, "%s reports: %s %s", s->child.name, line, text);
        demo.failed = true;
    }
}

/* Waits a moment for lines of the agents and takes them. */
static bool pump(int ms)
{
    struct pollfd fds[2];

    for (int i = 0; i < 2; i++) {
        struct child *c = &demo.side[i].child;
        fds[i] = (struct pollfd){ .fd = c->eof ? -1 : c->out, .events = POLLIN };
    }
    if (poll(fds, 2, ms) > 0) {
        for (int i = 0; i < 2; i++) {
            if (fds[i].revents != 0)
                child_read(&demo.side[i].child, on_line, &demo.side[i]);
        }
    }
    if (interrupted)
        return fail("interrupted");
    return !demo.failed;
}

static bool wait_for(const char *what, bool (*done)(void))
{
    demo.last_line = demo_us();
    while (!done()) {
        if (!pump(100))
            return false;
        for (int i = 0; i < 2; i++) {
            if (demo.side[i].child.eof)
                return fail("an agent ended unexpectedly");
        }
        if (demo_us() - demo.last_line > PATIENCE_US) {
            say(RED, "nothing happened for 60 s while waiting for %s", what);
            return fail("giving up");
        }
    }
    return true;
}

/* ---- starting and stopping ---- */

static bool both_open(void)
{
    return demo.side[ALICE].open && demo.side[BOB].open;
}

static bool start_agents(void)
{
    for (int i = 0; i < 2; i++) {
        demo.side[i].open = false;
        if (!child_start(&demo.side[i].child, demo.program, demo.address))
            return fail("cannot start an agent process");
    }
    return wait_for("the agents to open their databases", both_open);
}

static void drain(void)
{
    while (!demo.side[ALICE].child.eof || !demo.side[BOB].child.eof)
        (void)pump(100);
}

static bool start_server(void)
{
    simplex_server_config cfg;
    char error[256] = "";
    size_t len = sizeof demo.address;

    simplex_server_config_init(&cfg);
    cfg.error = error;
    cfg.error_size = sizeof error;
    if (simplex_server_start(&cfg, &demo.server) != SIMPLEX_OK)
        return fail(error);
    if (simplex_server_address(demo.server, demo.address, &len) != SIMPLEX_OK)
        return fail("the server has no address");
    say(PLAIN, "SMP server on 127.0.0.1 port %u, certificates made just now",
        simplex_server_port(demo.server));
    say(DIM, "%s", demo.address);
    return true;
}

static bool make_key(char hex[DEMO_KEY_HEX + 1])
{
    uint8_t key[DEMO_KEY_HEX / 2];
    FILE *f = fopen("/dev/urandom", "rb");
    bool ok = f != NULL && fread(key, 1, sizeof key, f) == sizeof key;

    if (f != NULL)
        (void)fclose(f);
    for (size_t i = 0; ok && i < sizeof key; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", key[i]);
    return ok;
}

static bool prepare(void)
{
    static const char *const names[] = { "Alice", "Bob" };
    const char *tmp = getenv("TMPDIR");

    (void)snprintf(demo.dir, sizeof demo.dir, "%s/simplex-demo-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(demo.dir) == NULL)
        return fail("cannot make a temporary folder");
    for (int i = 0; i < 2; i++) {
        struct side *s = &demo.side[i];
        s->child.name = names[i];
        (void)snprintf(s->child.db, sizeof s->child.db, "%s/%s.db", demo.dir, names[i]);
        if (!make_key(s->child.key) || !ledger_open(&s->got, demo.messages))
            return fail("cannot prepare an agent");
    }
    return true;
}

static void clean_up(void)
{
    static const char *const ends[] = { "", "-wal", "-shm", "-journal", "-age" };

    for (int i = 0; i < 2; i++) {
        struct child *c = &demo.side[i].child;
        if (c->pid > 0) {
            child_kill(c);
            (void)child_reap(c);
        }
        for (size_t e = 0; !demo.keep && e < sizeof ends / sizeof ends[0]; e++) {
            char path[600];
            (void)snprintf(path, sizeof path, "%s%s", c->db, ends[e]);
            (void)unlink(path);
        }
        ledger_close(&demo.side[i].got);
    }
    if (!demo.keep)
        (void)rmdir(demo.dir);
    else
        printf("\nDatabases: %s\n", demo.dir);
    simplex_server_stop(demo.server);
}

/* ---- the acts ---- */

static bool have_link(void)
{
    return demo.side[ALICE].link[0] != 0;
}

static bool alice_asked(void)
{
    return demo.side[ALICE].confirmed;
}

static bool both_connected(void)
{
    return demo.side[ALICE].connected && demo.side[BOB].connected;
}

static bool connect_agents(void)
{
    struct side *a = &demo.side[ALICE], *b = &demo.side[BOB];
    int64_t began = demo_us();

    act("Connecting");
    if (!child_tell(&a->child, "create\n") || !wait_for("the link", have_link))
        return false;
    say(PLAIN, "Alice made a queue; her invitation, to be given to Bob out of band:");
    say(DIM, "%s", a->link);
    if ((demo.qr || screen_is_tty()) && !show_qr(a->link))
        say(DIM, "(the QR code needs a wider window, or a build with libqrencode)");
    if (!child_tell(&b->child, "join %s\n", a->link) || !wait_for("Bob", alice_asked))
        return false;
    say(PLAIN, "Bob joined. Alice reads \"%s\" and allows", a->info);
    if (!wait_for("the handshake", both_connected))
        return false;
    say(PLAIN, "Alice says \"%s\" to Bob", b->info + strlen("I am "));
    say(GREEN, "connected in %.0f ms, link to both sides ready",
        (double)(demo_us() - began) / 1000);
    return true;
}

static int listener;

static bool was_said(void)
{
    return demo.side[listener].said[0] != 0;
}

static bool say_from(int from, const char *text)
{
    struct side *s = &demo.side[from], *to = &demo.side[1 - from];
    int64_t began = demo_us();

    listener = 1 - from;
    to->said[0] = 0;
    if (!child_tell(&s->child, "say %s\n", text) || !wait_for("a message", was_said))
        return false;
    if (strcmp(to->said, text) != 0)
        return fail("the text arrived changed");
    say(PLAIN, "%s%-5s%s  %s  %s%.1f ms%s", paint(BOLD), s->child.name, paint(PLAIN), text,
        paint(DIM), (double)(to->said_at - began) / 1000, paint(PLAIN));
    return true;
}

static bool talk(void)
{
    static const char *const lines[] = {
        "Hello Bob. Nobody gave either of us a user name.",
        "Hello Alice. And the server does not know that you are you.",
        "Each message has a key of its own, gone when it is read.",
        "Then let us see what happens when somebody pulls the plug.",
    };

    act("Talking");
    for (int i = 0; i < 4; i++) {
        if (!say_from(i % 2 == 0 ? ALICE : BOB, lines[i]))
            return false;
    }
    return true;
}

static long arrived(void)
{
    return demo.side[ALICE].got.arrived + demo.side[BOB].got.arrived;
}

static long wanted; /* messages until the next kill, or all */

static bool enough_arrived(void)
{
    progress("messages", arrived(), 2 * demo.messages);
    return arrived() >= wanted;
}

static bool kill_and_reopen(void)
{
    int64_t at = demo_us();
    long before;

    demo.killed[demo.n_killed++] = at;
    say(YELLOW, "kill -9 Alice (process %ld) and Bob (process %ld) after %ld messages",
        (long)demo.side[ALICE].child.pid, (long)demo.side[BOB].child.pid, arrived());
    for (int i = 0; i < 2; i++)
        child_kill(&demo.side[i].child);
    drain();
    for (int i = 0; i < 2; i++)
        (void)child_reap(&demo.side[i].child);
    if (demo.failed || !start_agents())
        return false;
    say(PLAIN, "both reopened from their databases after %.0f ms", (double)(demo_us() - at) / 1000);
    if (arrived() == 2 * demo.messages) { /* what they had told before was not read yet */
        say(PLAIN, "all messages had arrived before the kill");
        return true;
    }
    before = wanted;
    wanted = arrived() + 1;
    if (!wait_for("messages after the kill", enough_arrived))
        return false;
    demo.down_us += demo_us() - at;
    say(PLAIN, "first message after the kill: %.0f ms", (double)(demo_us() - at) / 1000);
    wanted = before;
    return true;
}

/* Duplicates would come late: wait until it is quiet, and until the server has nothing left. */
static bool settle(void)
{
    simplex_server_counters c = { .size = sizeof c };

    do {
        if (!pump(QUIET_MS))
            return false;
    } while (demo_us() - demo.last_line < QUIET_MS * 1000);
    if (simplex_server_count(demo.server, &c) != SIMPLEX_OK)
        return fail("the server does not count");
    say(PLAIN, "the server now holds %zu queues and %zu messages", c.queues, c.messages);
    return true;
}

static bool load(void)
{
    char title[96];

    (void)snprintf(title, sizeof title, "%ld messages each way, both agents killed in the middle",
                   demo.messages);
    act(title);
    demo.load_began = demo_us();
    if (!child_tell(&demo.side[ALICE].child, "say begin %ld %ld\n", demo.messages, demo.window))
        return fail("an agent does not listen");
    for (long k = 1; k <= demo.kills; k++) {
        wanted = 2 * demo.messages * k / (demo.kills + 1);
        if (wanted == 0) /* until then Alice may not have begun */
            wanted = 1;
        if (!wait_for("messages", enough_arrived) || !kill_and_reopen())
            return false;
    }
    wanted = 2 * demo.messages;
    if (!wait_for("messages", enough_arrived))
        return false;
    demo.load_ended = demo_us();
    progress_end();
    return settle();
}

static bool close_and_reopen(void)
{
    act("Closing and opening again");
    for (int i = 0; i < 2; i++)
        child_ask_to_end(&demo.side[i].child);
    drain();
    for (int i = 0; i < 2; i++) {
        if (child_reap(&demo.side[i].child) != 0)
            return fail("an agent did not close");
    }
    say(PLAIN, "both agents closed");

    simplex_agent *a;
    const simplex_agent_config cfg = { .size = sizeof cfg,
                                       .db_path = demo.side[BOB].child.db,
                                       .db_key = { (const uint8_t *)"guess", 5 } };
    simplex_rc rc = simplex_agent_open(&cfg, &a);
    if (rc != SIMPLEX_E_DB_KEY) {
        (void)simplex_agent_close(a);
        return fail("a wrong key was not refused");
    }
    say(PLAIN, "Bob's database with a guessed key: %s", simplex_rc_text(rc));
    if (!start_agents())
        return false;
    say(PLAIN, "both opened with their keys");
    return say_from(BOB, "Still there, Alice?") && say_from(ALICE, "Nothing lost, Bob.");
}

/* ---- noise ---- */

static bool was_counted(void)
{
    return demo.side[ALICE].counted;
}

static bool count_noise(void)
{
    demo.side[ALICE].counted = false;
    return child_tell(&demo.side[ALICE].child, "count\n") &&
           wait_for("the statistics", was_counted) && pump(100);
}

static bool server_has(size_t queues)
{
    simplex_server_counters c = { .size = sizeof c };
    int64_t began = demo_us();

    do {
        if (simplex_server_count(demo.server, &c) != SIMPLEX_OK || !pump(50))
            return fail("the server does not count");
    } while (c.queues != queues && demo_us() - began < PATIENCE_US);
    say(PLAIN, "the server holds %zu queues", c.queues);
    return c.queues == queues || fail("there should be another number of queues");
}

/* Alice's agent sends commands without a meaning; nobody notices. */
static bool noise(void)
{
    const long *n = demo.side[ALICE].noise;
    int64_t heard;

    act("Noise");
    if (!child_tell(&demo.side[ALICE].child, "noise %lld\n", 1LL << 33) ||
        !say_from(ALICE, "Whoever counts my messages counts more of them now."))
        return false;
    heard = demo.side[BOB].said_at;
    do {
        if (!count_noise())
            return false;
    } while (n[0] < 5 || n[1] < 5 || n[2] < 5);
    say(PLAIN,
        "Alice's agent sent %ld PINGs, %ld messages to itself and %ld that Bob had already:", n[0],
        n[1], n[2]);
    say(PLAIN, "%ld KB, at random times; Bob's agent dropped the repeats", n[3] / 1000);
    if (!server_has(3) || !say_from(BOB, "I have heard nothing but this.") ||
        !child_tell(&demo.side[ALICE].child, "noise 0\n") || !server_has(2))
        return false;
    return demo.side[BOB].said_at == heard || fail("Bob was shown a message again");
}

/* ---- the account ---- */

static void row_latency(const char *title, bool waited)
{
    struct latency l[2];

    for (int i = 0; i < 2; i++)
        l[i] = ledger_latency(&demo.side[BOB - i].got, demo.killed, demo.n_killed, waited);
    printf("  %-28s", title);
    for (int i = 0; i < 2; i++) {
        char text[64] = "-";
        if (l[i].n > 0)
            (void)snprintf(text, sizeof text, "%.1f / %.1f / %.1f", l[i].p50, l[i].p90, l[i].p99);
        printf(" %24s", text);
    }
    printf("\n");
}

static void row_number(const char *title, long a, long b)
{
    printf("  %-28s %24ld %24ld\n", title, a, b);
}

static void row_verdict(const char *title, bool a, bool b)
{
    printf("  %-28s %s%24s%s %s%24s%s\n", title, paint(a ? GREEN : RED), a ? "yes" : "NO",
           paint(PLAIN), paint(b ? GREEN : RED), b ? "yes" : "NO", paint(PLAIN));
}

static void account(void)
{
    const struct ledger *b = &demo.side[BOB].got, *a = &demo.side[ALICE].got;
    double s = (double)(demo.load_ended - demo.load_began) / 1e6;
    double down = (double)demo.down_us / 1e6;

    act("Account");
    printf("  %-28s %24s %24s\n", "", "Alice to Bob", "Bob to Alice");
    row_number("messages sent", demo.messages, demo.messages);
    row_number("messages arrived", b->arrived, a->arrived);
    row_verdict("each exactly once, in order", ledger_good(b), ledger_good(a));
    row_number("twice with another id", b->duplicates, a->duplicates);
    row_number("out of order", b->misplaced, a->misplaced);
    row_number("shown again after a kill (*)", b->shown_again, a->shown_again);
    row_latency("latency ms p50 / p90 / p99", false);
    row_latency("of those on their way at kills", true);
    printf("  %ld messages in %.2f s, kills included: %.0f messages/s; without the %.2f s from a "
           "kill to\n  the next message: %.0f messages/s. Each was on disk at both ends.\n",
           2 * demo.messages, s, 2.0 * (double)demo.messages / s, down,
           2.0 * (double)demo.messages / (s - down > 0 ? s - down : s));
    printf("  %s(*) with the same id: shown, but not acknowledged before the kill. With %ld "
           "messages on\n  their way each way at a time, latency includes the wait in this line."
           "%s\n",
           paint(DIM), demo.window, paint(PLAIN));
}

/* ---- */

static bool number(const char *text, long min, long max, long *out)
{
    char *end;

    *out = strtol(text, &end, 10);
    if (*text != 0 && *end == 0 && *out >= min && *out <= max)
        return true;
    fprintf(stderr, "demo: \"%s\" is not a number from %ld to %ld\n", text, min, max);
    return false;
}

/* Negative: go on; otherwise the exit status. */
static int take_options(int argc, char **argv)
{
    static const struct option options[] = {
        { "messages", required_argument, NULL, 'm' },
        { "window", required_argument, NULL, 'w' },
        { "kills", required_argument, NULL, 'k' },
        { "qr", no_argument, NULL, 'q' },
        { "keep", no_argument, NULL, 'K' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int opt;
    bool ok = true;

    demo.messages = 1000;
    demo.window = 32;
    demo.kills = 1;
    while (ok && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (opt) {
        case 'm':
            ok = number(optarg, 1, 1000000, &demo.messages);
            break;
        case 'w':
            ok = number(optarg, 1, 100, &demo.window);
            break;
        case 'k':
            ok = number(optarg, 0, KILLS_MAX, &demo.kills);
            break;
        case 'q':
            demo.qr = true;
            break;
        case 'K':
            demo.keep = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            ok = false;
        }
    }
    if (ok && optind == argc)
        return -1;
    fputs("Try demo --help\n", stderr);
    return 2;
}

/* The children are this program once more. */
static void find_program(const char *argv0)
{
    ssize_t n = readlink("/proc/self/exe", demo.program, sizeof demo.program - 1);

    if (n > 0)
        demo.program[n] = 0;
    else
        copy(demo.program, sizeof demo.program, argv0);
}

int main(int argc, char **argv)
{
    struct sigaction on_signal = { .sa_handler = on_interrupt };

    (void)signal(SIGPIPE, SIG_IGN);
    if (argc == 5 && strcmp(argv[1], "--peer") == 0)
        return demo_peer_main(argv[2], argv[3], argv[4]);
    int status = take_options(argc, argv);
    if (status >= 0)
        return status;
    find_program(argv[0]);
    (void)sigaction(SIGINT, &on_signal, NULL);
    (void)sigaction(SIGTERM, &on_signal, NULL);
    screen_open();
    printf("libsimplex %s: two agents and a server on this machine\n", simplex_version());

    act("Starting");
    bool ok = prepare() && start_server() && start_agents();
    if (ok)
        say(PLAIN, "two agents, each a process with an encrypted database in %s", demo.dir);
    ok = ok && connect_agents() && talk() && load() && close_and_reopen() && noise();
    ok = ok && tour_run(demo.dir);
    if (demo.load_ended != 0)
        account();
    ok = ok && ledger_good(&demo.side[ALICE].got) && ledger_good(&demo.side[BOB].got);
    clean_up();
    printf("\n%s%s%s\n", paint(ok ? GREEN : RED),
           ok ? "Every message arrived exactly once and in order." : "The demo FAILED.",
           paint(PLAIN));
    return ok ? 0 : 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which server of a user is chosen for what (agent.md section 8.4): operators, hosts, roles. */
#include <stdio.h>

#include "agent/route.h"
#include "agent/users.h"
#include "support/agents.h"

#define FP "smp://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=@"

static struct test_agent t;
static char dir[256];

static int set_up(void **state)
{
    (void)state;
    tmp_make(dir);
    agent_open(&t, dir, "t", FP "config.example");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    agent_close(&t);
    tmp_remove(dir);
    return 0;
}

static simplex_user_server server(const char *address, int64_t op)
{
    return (simplex_user_server){ .size = sizeof(simplex_user_server),
                                  .address = address,
                                  .operator_id = op,
                                  .enabled = true,
                                  .storage = true,
                                  .proxy = true };
}

static void set(const simplex_user_server *list, size_t n)
{
    assert_int_equal(simplex_agent_set_servers(t.a, SIMPLEX_USER_DEFAULT, list, n), SIMPLEX_OK);
}

static struct sx_server parsed(const char *address)
{
    simplex_bytes password;
    struct sx_server s;

    assert_int_equal(sx_server_parse(sx_str(address), &s, &password), SIMPLEX_OK);
    return s;
}

/* What was chosen in many draws: a letter for each host name that begins with it. */
struct draw {
    struct sx_choice c;
    bool seen[26];
    simplex_rc rc;
};

static simplex_rc draw(struct simplex_agent *a, void *p)
{
    struct draw *d = p;
    const struct sx_user_server *s;

    for (int n = 0; n < 300; n++) {
        d->rc = sx_choose(a, &d->c, &s);
        if (d->rc != SIMPLEX_OK)
            return SIMPLEX_OK;
        d->seen[s->server.hosts[0].text[0] - 'a'] = true;
    }
    return SIMPLEX_OK;
}

static void assert_chosen(const struct sx_choice *c, const char *letters)
{
    struct draw d = { .c = *c };
    char seen[27] = "";
    size_t n = 0;

    d.c.user = SIMPLEX_USER_DEFAULT;
    if (d.c.role == 0)
        d.c.role = SX_SRV_STORAGE;
    assert_int_equal(sx_agent_run(t.a, draw, &d, false), SIMPLEX_OK);
    assert_int_equal(d.rc, letters[0] != 0 ? SIMPLEX_OK : SIMPLEX_E_NO_SERVERS);
    for (size_t i = 0; i < 26; i++) {
        if (d.seen[i])
            seen[n++] = (char)('a' + i);
    }
    assert_string_equal(seen, letters);
}

static void all_are_chosen_when_nothing_is_used(void **state)
{
    simplex_user_server list[] = { server(FP "a.example", 1), server(FP "b.example", 1),
                                   server(FP "c.example", 2) };

    (void)state;
    set(list, 3);
    assert_chosen(&(struct sx_choice){ .role = SX_SRV_STORAGE }, "abc");
    set(list, 1);
    assert_chosen(&(struct sx_choice){ .role = SX_SRV_STORAGE }, "a");
    set(list, 0);
    assert_chosen(&(struct sx_choice){ .role = SX_SRV_STORAGE }, "");
    set(NULL, 0);
    assert_chosen(&(struct sx_choice){ .role = SX_SRV_STORAGE }, "c"); /* of the configuration */
}

static void other_operators_come_before_other_hosts(void **state)
{
    simplex_user_server list[] = { server(FP "a.example", 1), server(FP "b.example", 1),
                                   server(FP "c.example", 2), server(FP "d.example", 2) };
    struct sx_server a = parsed(FP "a.example:7000"), c = parsed(FP "c.example"),
                     x = parsed(FP "x.example");

    (void)state;
    set(list, 4);
    assert_chosen(&(struct sx_choice){ .used = { &a }, .n_used = 1 }, "cd");
    assert_chosen(&(struct sx_choice){ .used = { &c }, .n_used = 1 }, "ab");
    assert_chosen(&(struct sx_choice){ .used = { &x }, .n_used = 1 }, "abcd");
    assert_chosen(&(struct sx_choice){ .used = { &a, &c }, .n_used = 2 }, "bd");
    set(list, 2); /* one operator: another host at least */
    assert_chosen(&(struct sx_choice){ .used = { &a }, .n_used = 1 }, "b");
    set(list, 1);
    assert_chosen(&(struct sx_choice){ .used = { &a }, .n_used = 1 }, "a");
}

static void servers_without_an_operator_count_as_one(void **state)
{
    simplex_user_server list[] = { server(FP "a.example", 0), server(FP "b.example", 0),
                                   server(FP "c.example", 3) };
    struct sx_server a = parsed(FP "a.example");

    (void)state;
    set(list, 3);
    assert_chosen(&(struct sx_choice){ .used = { &a }, .n_used = 1 }, "c");
    set(list, 2);
    assert_chosen(&(struct sx_choice){ .used = { &a }, .n_used = 1 }, "b");
}

static void another_port_of_a_used_host_is_better_than_the_same(void **state)
{
    simplex_user_server list[] = { server(FP "a.example", 0), server(FP "b.example,a.example:1", 0),
                                   server(FP "c.example", 0) };
    struct sx_server a = parsed(FP "a.example"), c = parsed(FP "c.example");

    (void)state;
    set(list, 3);
    assert_chosen(&(struct sx_choice){ .used = { &a }, .n_used = 1 }, "c");
    assert_chosen(&(struct sx_choice){ .used = { &a, &c }, .n_used = 2 }, "b");
}

static void the_server_that_is_left_is_taken_again_only_when_it_is_the_only_one(void **state)
{
    simplex_user_server list[] = { server(FP "a.example", 0), server(FP "b.example", 0) };
    struct sx_server a = parsed(FP "a.example"), b = parsed(FP "b.example");

    (void)state;
    set(list, 2);
    assert_chosen(&(struct sx_choice){ .used = { &a, &b }, .n_used = 2, .not_there = &a }, "b");
    assert_chosen(
        &(struct sx_choice){ .used = { &a, &b }, .n_used = 2, .not_there = &a, .failed = &b }, "b");
    set(list, 1);
    assert_chosen(&(struct sx_choice){ .used = { &a }, .n_used = 1, .not_there = &a }, "a");
}

static void roles_and_switches_decide_unless_nothing_is_left(void **state)
{
    simplex_user_server list[] = { server(FP "a.example", 0), server(FP "b.example", 0),
                                   server(FP "c.example", 0) };

    (void)state;
    list[0].storage = false;
    list[1].proxy = false;
    list[2].enabled = false;
    set(list, 3);
    assert_chosen(&(struct sx_choice){ .role = SX_SRV_STORAGE }, "b");
    assert_chosen(&(struct sx_choice){ .role = SX_SRV_PROXY }, "a");
    list[0].enabled = false;
    set(list, 3);
    assert_chosen(&(struct sx_choice){ .role = SX_SRV_STORAGE }, "b");
    assert_chosen(&(struct sx_choice){ .role = SX_SRV_PROXY }, "abc"); /* as the reference */
    list[1].enabled = false;
    set(list, 3);
    assert_chosen(&(struct sx_choice){ .role = SX_SRV_STORAGE }, "abc");
}

static void what_cannot_be_reached_is_the_last_resort_and_no_proxy(void **state)
{
    simplex_user_server list[] = {
        server(FP "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz2345.onion", 1),
        server(FP "b.example", 2),
    };
    struct sx_server b = parsed(FP "b.example");

    (void)state;
    set(list, 2);
    assert_chosen(&(struct sx_choice){ .role = SX_SRV_STORAGE }, "b");
    assert_chosen(&(struct sx_choice){ .used = { &b }, .n_used = 1 }, "b");
    set(list, 1);
    assert_chosen(&(struct sx_choice){ .role = SX_SRV_STORAGE }, "a");
    assert_chosen(&(struct sx_choice){ .role = SX_SRV_PROXY, .reachable = true }, "");
}

struct trial {
    struct sx_tried tried;
    struct sx_choice c;
    const char *fails;
};

static simplex_rc add_tried(struct simplex_agent *a, void *p)
{
    struct trial *x = p;
    struct sx_server s = parsed(x->fails);

    x->c.user = SIMPLEX_USER_DEFAULT;
    x->c.role = SX_SRV_STORAGE;
    x->c.tried = &x->tried;
    sx_tried_add(a, &x->c, &s);
    return SIMPLEX_OK;
}

static void fail_at(struct trial *x, const char *address)
{
    x->fails = address;
    assert_int_equal(sx_agent_run(t.a, add_tried, x, false), SIMPLEX_OK);
}

static void each_server_is_tried_before_one_is_tried_again(void **state)
{
    simplex_user_server list[] = { server(FP "a.example", 1), server(FP "b.example", 1),
                                   server(FP "c.example", 1), server(FP "d.example", 2) };
    struct sx_server d = parsed(FP "d.example"), c = parsed(FP "c.example");
    struct trial x = { .c = { .used = { &d }, .n_used = 1 } };

    (void)state;
    set(list, 4);
    fail_at(&x, FP "a.example");
    assert_chosen(&x.c, "bc");
    fail_at(&x, FP "b.example");
    assert_chosen(&x.c, "c");
    x.c.failed = &c;
    fail_at(&x, FP "c.example"); /* all of the unused operator: once more, never to the used one */
    assert_chosen(&x.c, "ab");
    fail_at(&x, FP "a.example");
    list[0] = server(FP "e.example", 1);
    set(list, 4); /* what was noted about places of the old list means nothing now */
    x.c.failed = NULL;
    fail_at(&x, FP "x.example");
    assert_chosen(&x.c, "bce");
}

static simplex_rc password_of(struct simplex_agent *a, void *p)
{
    struct sx_server s = parsed(FP "a.example");
    simplex_bytes *out = p;

    *out = sx_server_password(a, SIMPLEX_USER_DEFAULT, &s);
    return SIMPLEX_OK;
}

static void the_password_is_that_of_the_users_list(void **state)
{
    simplex_user_server list[] = { server(
        "smp://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:secret@a.example", 0) };
    simplex_bytes password;

    (void)state;
    assert_int_equal(sx_agent_run(t.a, password_of, &password, false), SIMPLEX_OK);
    assert_int_equal(password.len, 0);
    set(list, 1);
    assert_int_equal(sx_agent_run(t.a, password_of, &password, false), SIMPLEX_OK);
    assert_true(sx_bytes_eq(password, sx_str("secret")));
}

int main(void)
{
#define CHOICE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CHOICE(all_are_chosen_when_nothing_is_used),
        CHOICE(other_operators_come_before_other_hosts),
        CHOICE(servers_without_an_operator_count_as_one),
        CHOICE(another_port_of_a_used_host_is_better_than_the_same),
        CHOICE(the_server_that_is_left_is_taken_again_only_when_it_is_the_only_one),
        CHOICE(roles_and_switches_decide_unless_nothing_is_left),
        CHOICE(what_cannot_be_reached_is_the_last_resort_and_no_proxy),
        CHOICE(each_server_is_tried_before_one_is_tried_again),
        CHOICE(the_password_is_that_of_the_users_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

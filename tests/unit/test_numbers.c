/* SPDX-License-Identifier: Apache-2.0 */
/* What the numbers of a peer's messages say: lost ones, and those that were none (agent.md 6.8). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/numbers.h"

#define OK SIMPLEX_MSG_OK
#define SKIPPED SIMPLEX_MSG_SKIPPED

enum before { RIGHT, KEYS, WRONG }; /* what the hash of the predecessor says */

struct step {       /* a message */
    int64_t others; /* keys and the like that come before it; -1: some may be too late */
    int64_t number;
    enum before before;
    bool shown;
    uint8_t integrity; /* of one that is shown */
    int64_t first, last;
};

static void take(struct sx_conn *c, const struct step *s, size_t n)
{
    uint8_t keys[32], wrong[32] = { 1 };
    struct sx_rcv_msg_row row;
    struct sx_agent_msg m = { .tag = SX_AM_MESSAGE,
                              .msg = s->shown ? SX_M_MSG : SX_M_EREADY,
                              .snd_msg_id = s->number };

    sx_sha256(sx_str("R"), keys);
    m.prev_hash = sx_bytes(s->before == RIGHT  ? c->last_rcv_hash
                           : s->before == KEYS ? keys
                                               : wrong,
                           32);
    for (int64_t k = 0; k < s->others; k++)
        sx_note_other(c);
    if (s->others < 0)
        c->rcv_others = SX_OTHERS_UNKNOWN;
    memset(&row, 0, sizeof row);
    memset(row.hash, (int)s->number, sizeof row.hash);
    sx_take_number(c, &m, &row);
    assert_int_equal(c->last_rcv_ext_id, s->number);
    if (s->shown &&
        (row.integrity != s->integrity || row.gap_first != s->first || row.gap_last != s->last))
        fail_msg("step %zu: %d, %lld to %lld", n, row.integrity, (long long)row.gap_first,
                 (long long)row.gap_last);
}

static void play(const struct step *steps, size_t n)
{
    struct sx_conn c = { .last_rcv_ext_id = 1, .has_rcv_hash = true };

    for (size_t k = 0; k < n; k++)
        take(&c, &steps[k], k);
    assert_int_equal(c.received, n);
}

static void numbers_tell_what_is_missing(void **state)
{
    static const struct step steps[] = {
        { 0, 2, RIGHT, true, OK, 0, 0 },
        { 0, 3, WRONG, true, SIMPLEX_MSG_BAD_HASH, 0, 0 },
        { 0, 5, WRONG, true, SKIPPED, 4, 4 },
        { 0, 5, WRONG, true, SIMPLEX_MSG_DUPLICATE, 0, 0 },
        { 0, 4, WRONG, true, SIMPLEX_MSG_BAD_ID, 4, 0 },
        { 0, INT64_MIN, RIGHT, true, SIMPLEX_MSG_BAD_ID, INT64_MIN, 0 },
        { 0, INT64_MAX, WRONG, true, SKIPPED, INT64_MIN + 1, INT64_MAX - 1 },
        { 0, INT64_MAX, WRONG, true, SIMPLEX_MSG_DUPLICATE, 0, 0 },
    };

    (void)state;
    play(steps, SX_COUNT(steps));
}

static void a_gap_is_told_with_the_next_message_that_is_shown(void **state)
{
    static const struct step steps[] = {
        { 0, 4, WRONG, false, 0, 0, 0 },
        { 0, 5, RIGHT, false, 0, 0, 0 },
        { 0, 6, RIGHT, true, SKIPPED, 2, 3 },
        { 0, 7, RIGHT, true, OK, 0, 0 },
        { 0, 9, WRONG, false, 0, 0, 0 },
        { 0, 12, WRONG, false, 0, 0, 0 },
        { 0, 14, WRONG, true, SKIPPED, 8, 13 }, /* one report of all */
        { 0, 15, RIGHT, true, OK, 0, 0 },
        { 0, 17, WRONG, false, 0, 0, 0 },
        { 0, 17, WRONG, true, SIMPLEX_MSG_DUPLICATE, 0, 0 },
        { 0, 18, RIGHT, true, SKIPPED, 16, 16 },
    };

    (void)state;
    play(steps, SX_COUNT(steps));
}

static void the_numbers_of_new_keys_are_no_gap(void **state)
{
    static const struct step steps[] = {
        { 1, 3, KEYS, true, OK, 0, 0 },
        { 0, 5, KEYS, true, OK, 0, 0 },  /* keys that never came: nothing of the application */
        { 3, 9, WRONG, true, OK, 0, 0 }, /* the last of them a message that could not be read */
        { 0, 10, RIGHT, true, OK, 0, 0 },
        { 2, 12, KEYS, true, OK, 0, 0 }, /* one of two */
        { 0, 14, KEYS, true, OK, 0, 0 },
        { 0, 16, WRONG, true, SKIPPED, 15, 15 },
    };

    (void)state;
    play(steps, SX_COUNT(steps));
}

static void what_is_lost_beside_new_keys_is_told(void **state)
{
    static const struct step steps[] = {
        { 1, 4, KEYS, true, SKIPPED, 2, 3 },
        { 0, 6, WRONG, true, SKIPPED, 5, 5 }, /* the keys before do not count again */
        { 1, 9, KEYS, false, 0, 0, 0 },
        { 1, 11, KEYS, true, SKIPPED, 7, 8 },
        { -1, 14, KEYS, true, SKIPPED, 12, 13 }, /* nobody knows */
        { 1, 16, KEYS, true, OK, 0, 0 },
    };

    (void)state;
    play(steps, SX_COUNT(steps));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_tell_what_is_missing),
        cmocka_unit_test(a_gap_is_told_with_the_next_message_that_is_shown),
        cmocka_unit_test(the_numbers_of_new_keys_are_no_gap),
        cmocka_unit_test(what_is_lost_beside_new_keys_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

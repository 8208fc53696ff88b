/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of received messages (section 6.8). Two things are not as the numbers alone say:
 *
 * While a ratchet is made anew the peer sends nothing of its application. But its keys take numbers
 * that they do not carry (section 6.6), and so do messages for which the ratchet was not right yet:
 * those that came are counted. A message right behind keys tells so, too: the hash of its
 * predecessor is that of the information "R".
 *
 * A gap before a message of the protocol, which the application is not shown, is told with the next
 * one that it is shown.
 */
#include "agent/numbers.h"

static bool follows_keys(const struct sx_agent_msg *m)
{
    uint8_t hash[32];

    sx_sha256(sx_str("R"), hash);
    return sx_bytes_eq(m->prev_hash, sx_bytes(hash, sizeof hash));
}

/* How many numbers are left out. They are the peer's: any, up to the largest. */
static uint64_t left_out(const struct sx_conn *c, const struct sx_agent_msg *m)
{
    if (m->snd_msg_id <= c->last_rcv_ext_id)
        return 0;
    return (uint64_t)m->snd_msg_id - (uint64_t)c->last_rcv_ext_id - 1;
}

bool sx_is_gap(const struct sx_conn *c, const struct sx_agent_msg *m)
{
    uint64_t n = left_out(c, m);

    if (n == 0 || (c->rcv_others > 0 && n <= (uint64_t)c->rcv_others))
        return false;
    return n > 1 || !follows_keys(m);
}

static uint8_t right_number(const struct sx_conn *c, const struct sx_agent_msg *m)
{
    simplex_bytes known = c->has_rcv_hash ? sx_bytes(c->last_rcv_hash, 32) : sx_bytes(NULL, 0);

    return sx_bytes_eq(known, m->prev_hash) ? SIMPLEX_MSG_OK : SIMPLEX_MSG_BAD_HASH;
}

static void check_integrity(const struct sx_conn *c, const struct sx_agent_msg *m,
                            struct sx_rcv_msg_row *row)
{
    int64_t prev = c->last_rcv_ext_id, id = m->snd_msg_id;

    if (sx_is_gap(c, m)) {
        row->integrity = SIMPLEX_MSG_SKIPPED;
        row->gap_first = prev + 1;
        row->gap_last = id - 1;
    } else if (id < prev) {
        row->integrity = SIMPLEX_MSG_BAD_ID;
        row->gap_first = id;
    } else if (id == prev) {
        row->integrity = SIMPLEX_MSG_DUPLICATE;
    } else {
        row->integrity = left_out(c, m) > 0 ? SIMPLEX_MSG_OK : right_number(c, m);
    }
}

void sx_note_other(struct sx_conn *c)
{
    if (c->rcv_others != SX_OTHERS_UNKNOWN)
        c->rcv_others++;
}

/* Those that were left out are accounted for. */
static void count_others(struct sx_conn *c, const struct sx_agent_msg *m)
{
    uint64_t n = left_out(c, m);

    if (n > 0)
        c->rcv_others =
            c->rcv_others > 0 && n < (uint64_t)c->rcv_others ? c->rcv_others - (int64_t)n : 0;
}

static void tell_gap(struct sx_conn *c, bool shown, struct sx_rcv_msg_row *row)
{
    bool gap = row->integrity == SIMPLEX_MSG_SKIPPED;

    if (gap && c->gap_last == 0)
        c->gap_first = row->gap_first;
    if (gap)
        c->gap_last = row->gap_last;
    if (!shown || c->gap_last == 0 || (!gap && row->integrity != SIMPLEX_MSG_OK))
        return;
    row->integrity = SIMPLEX_MSG_SKIPPED;
    row->gap_first = c->gap_first;
    row->gap_last = c->gap_last;
    c->gap_first = c->gap_last = 0;
}

/* Each accepted message overwrites the last number and hash, whatever its integrity. */
void sx_take_number(struct sx_conn *c, const struct sx_agent_msg *m, struct sx_rcv_msg_row *row)
{
    check_integrity(c, m, row);
    tell_gap(c, m->msg == SX_M_MSG, row);
    count_others(c, m);
    c->last_id++;
    c->last_rcv_ext_id = m->snd_msg_id;
    c->received++;
    memcpy(c->last_rcv_hash, row->hash, sizeof c->last_rcv_hash);
    c->has_rcv_hash = true;
    row->conn_id = c->id;
    row->id = c->last_id;
    row->ext_id = m->snd_msg_id;
    row->type = m->msg;
    row->rcv_ts = sx_now_ms();
}

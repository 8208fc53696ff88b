/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A contact that may send anything: what its agent encrypts with a valid ratchet is changed on the
 * way (sx_agent_msg_encode, wrapped at link time). Only with sim.hostile set, and by choices of the
 * schedule: its script says what is sent.
 */
#include "sim/sim.h"
#include "wire/agent_msg.h"

void __real_sx_agent_msg_encode(struct sx_wr *w, const struct sx_agent_msg *m);
void __wrap_sx_agent_msg_encode(struct sx_wr *w, const struct sx_agent_msg *m);

static uint8_t any_byte(void)
{
    return (uint8_t)sim_below(256);
}

/* Another kind of message, with numbers that are right or not and items that come from nowhere. */
static void another(const struct sx_agent_msg *m, uint8_t *room, size_t size,
                    struct sx_agent_msg *out)
{
    size_t n = sim_below((uint32_t)size);

    *out = *m;
    out->tag = SX_AM_MESSAGE;
    out->msg = (uint8_t)(SX_M_HELLO + sim_below(SX_M_EREADY));
    out->snd_msg_id += sim_chance(70) ? 0 : (int64_t)sim_below(300) - 100;
    if (sim_chance(20))
        out->prev_hash = sx_bytes(NULL, 0);
    for (size_t i = 0; i < n; i++)
        room[i] = any_byte();
    out->body = sx_bytes(room, n);
    if (out->msg != m->msg)
        out->list = (struct sx_list){ 1 + sim_below(3), sx_bytes(room, n) };
    out->eready = (int64_t)sim_below(1000) - 10;
}

static void flip(uint8_t *p, size_t n)
{
    for (uint32_t i = 1 + sim_below(4); i > 0 && n > 0; i--)
        p[sim_below((uint32_t)n)] = any_byte();
}

void __wrap_sx_agent_msg_encode(struct sx_wr *w, const struct sx_agent_msg *m)
{
    uint8_t room[256];
    struct sx_agent_msg other;
    size_t before = w->len;

    if (sim.hostile == NULL || sim.hostile != sim.at || sim_chance(30)) {
        __real_sx_agent_msg_encode(w, m);
        return;
    }
    if (sim_chance(50)) {
        another(m, room, sizeof room, &other);
        m = &other;
    }
    __real_sx_agent_msg_encode(w, m);
    if (!w->bad && sim_chance(60))
        flip(w->p + before, w->len - before);
    if (!w->bad && sim_chance(20))
        w->len = before + sim_below((uint32_t)(w->len - before + 1));
}

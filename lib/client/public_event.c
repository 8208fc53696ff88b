/* SPDX-License-Identifier: Apache-2.0 */
/* Responses as simplex_client_event, and copies of it for hosts that pull. */
#include "client/public.h"

static const int32_t names[SX_RSP_TAGS] = {
    [SX_R_IDS] = SIMPLEX_SMP_IDS,   [SX_R_LNK] = SIMPLEX_SMP_LNK,   [SX_R_OK] = SIMPLEX_SMP_OK,
    [SX_R_SOK] = SIMPLEX_SMP_OK,    [SX_R_MSG] = SIMPLEX_SMP_MSG,   [SX_R_NID] = SIMPLEX_SMP_NID,
    [SX_R_NMSG] = SIMPLEX_SMP_NMSG, [SX_R_END] = SIMPLEX_SMP_END,   [SX_R_DELD] = SIMPLEX_SMP_DELD,
    [SX_R_PONG] = SIMPLEX_SMP_PONG, [SX_R_INFO] = SIMPLEX_SMP_INFO, [SX_R_ERR] = SIMPLEX_SMP_ERR,
    [SX_R_SOKS] = SIMPLEX_SMP_SOKS, [SX_R_ENDS] = SIMPLEX_SMP_ENDS, [SX_R_ALLS] = SIMPLEX_SMP_ALLS,
};

static simplex_bytes der_of(const struct sx_pub *key, uint8_t to[SX_SPKI_MAX])
{
    struct sx_wr w;

    sx_wr_fixed(&w, to, SX_SPKI_MAX);
    sx_spki_encode(key, &w);
    return sx_wr_bytes(&w);
}

static void fill_ids(struct sx_public_event *e, const struct sx_rsp *rsp)
{
    e->ev.rcv_id = rsp->ids.rcv_id;
    e->ev.snd_id = rsp->ids.snd_id;
    e->ev.server_key = der_of(&rsp->ids.srv_dh, e->keys[0]);
    e->ev.queue_mode = rsp->ids.mode;
    if (rsp->ids.has_service_id)
        e->ev.service_id = rsp->ids.service_id;
    if (rsp->ids.has_link_id)
        e->ev.link_id = rsp->ids.link_id;
    if (rsp->ids.has_ntf) {
        e->ev.ntf_id = rsp->ids.ntf_id;
        e->ev.ntf_server_key = der_of(&rsp->ids.ntf_srv_dh, e->keys[1]);
    }
}

bool sx_public_response(struct sx_public_event *e, const struct sx_rsp *rsp, uint16_t version)
{
    struct sx_wr w;

    e->ev.response = names[rsp->tag];
    switch (rsp->tag) {
    case SX_R_IDS:
        fill_ids(e, rsp);
        break;
    case SX_R_SOK:
        if (rsp->sok.has_service_id)
            e->ev.service_id = rsp->sok.service_id;
        break;
    case SX_R_SOKS:
    case SX_R_ENDS:
        e->ev.count = rsp->soks.count;
        if (rsp->soks.has_hash)
            e->ev.ids_hash = sx_bytes(rsp->soks.hash, sizeof(rsp->soks.hash));
        break;
    case SX_R_LNK:
        e->ev.snd_id = rsp->lnk.snd_id;
        e->ev.fixed_data = rsp->lnk.fixed;
        e->ev.user_data = rsp->lnk.user;
        break;
    case SX_R_MSG:
        e->ev.msg_id = rsp->msg.msg_id;
        e->ev.body = rsp->msg.body;
        break;
    case SX_R_NID:
        e->ev.ntf_id = rsp->nid.ntf_id;
        e->ev.server_key = der_of(&rsp->nid.srv_dh, e->keys[0]);
        break;
    case SX_R_NMSG:
        e->ev.nonce = sx_bytes(rsp->nmsg.nonce, sizeof(rsp->nmsg.nonce));
        e->ev.meta = rsp->nmsg.meta;
        break;
    case SX_R_INFO:
        e->ev.json = rsp->info.json;
        break;
    case SX_R_ERR: /* what does not fit is cut off: it is for reading */
        sx_wr_fixed(&w, e->error, sizeof(e->error));
        sx_smp_err_encode(&w, &rsp->err, version);
        e->ev.error = sx_wr_bytes(&w);
        break;
    default:
        break;
    }
    return e->ev.response != 0;
}

#define AT(field) offsetof(simplex_client_event, field)
static const size_t slices[] = {
    AT(entity),     AT(rcv_id),         AT(snd_id), AT(link_id),    AT(ntf_id),
    AT(server_key), AT(msg_id),         AT(body),   AT(fixed_data), AT(user_data),
    AT(nonce),      AT(ntf_server_key), AT(meta),   AT(json),       AT(error),
    AT(service_id), AT(ids_hash),
};

simplex_rc sx_public_event_copy(const simplex_client_event *ev, simplex_client_event **out,
                                size_t *size)
{
    simplex_bytes s;

    *out = NULL;
    *size = sizeof(*ev);
    for (size_t i = 0; i < SX_COUNT(slices); i++) {
        memcpy(&s, (const uint8_t *)ev + slices[i], sizeof(s));
        *size += s.len;
    }
    simplex_client_event *copy = sx_malloc(*size);
    if (copy == NULL)
        return SIMPLEX_E_NOMEM;
    *copy = *ev;
    uint8_t *to = (uint8_t *)(copy + 1);
    for (size_t i = 0; i < SX_COUNT(slices); i++) {
        memcpy(&s, (const uint8_t *)ev + slices[i], sizeof(s));
        if (s.len > 0)
            memcpy(to, s.ptr, s.len);
        s.ptr = to;
        memcpy((uint8_t *)copy + slices[i], &s, sizeof(s));
        to += s.len;
    }
    *out = copy;
    return SIMPLEX_OK;
}

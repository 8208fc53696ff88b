/* SPDX-License-Identifier: Apache-2.0 */
/* simplex_command to struct sx_cmd: one filler for each shape of parameters. */
#include "client/public.h"

typedef simplex_rc fill_fn(const simplex_command *in, simplex_bytes password,
                           struct sx_public_cmd *out);

static simplex_rc public_key(simplex_bytes der, struct sx_pub *out)
{
    return der.len == 0 ? SIMPLEX_E_ARG : sx_spki_decode(der, out);
}

static simplex_rc x25519_key(simplex_bytes der, struct sx_pub *out)
{
    simplex_rc rc = public_key(der, out);

    return rc == SIMPLEX_OK && out->alg != SX_X25519 ? SIMPLEX_E_KEY : rc;
}

static simplex_rc no_params(const simplex_command *in, simplex_bytes password,
                            struct sx_public_cmd *out)
{
    (void)in;
    (void)password;
    (void)out;
    return SIMPLEX_OK;
}

static simplex_rc fill_new(const simplex_command *in, simplex_bytes password,
                           struct sx_public_cmd *out)
{
    struct sx_cmd *c = &out->cmd;

    if (!out->has_key)
        return SIMPLEX_E_ARG;
    c->new_.auth = out->key.pub;
    simplex_rc rc = x25519_key(in->dh_key, &c->new_.dh);
    if (rc != SIMPLEX_OK)
        return rc;
    if (in->queue_mode != 0 && in->queue_mode != SIMPLEX_QUEUE_MESSAGING &&
        in->queue_mode != SIMPLEX_QUEUE_CONTACT)
        return SIMPLEX_E_ARG;
    c->new_.password = in->password.len > 0 ? in->password : password;
    c->new_.has_password = c->new_.password.len > 0;
    c->new_.subscribe = in->subscribe;
    c->new_.mode = (uint8_t)in->queue_mode;
    c->new_.has_link = in->fixed_data.len > 0 || in->user_data.len > 0;
    c->new_.link_id = in->link_id;
    c->new_.snd_id = in->snd_id;
    c->new_.fixed = in->fixed_data;
    c->new_.user = in->user_data;
    c->new_.has_ntf = in->ntf_key.len > 0;
    if (!c->new_.has_ntf)
        return SIMPLEX_OK;
    rc = public_key(in->ntf_key, &c->new_.ntf_auth);
    return rc == SIMPLEX_OK ? x25519_key(in->ntf_dh_key, &c->new_.ntf_dh) : rc;
}

static simplex_rc fill_key(const simplex_command *in, simplex_bytes password,
                           struct sx_public_cmd *out)
{
    (void)password;
    return public_key(in->key, &out->cmd.key.key);
}

/* SKEY, LKEY: the key that authorises the command is the one it brings. */
static simplex_rc fill_own_key(const simplex_command *in, simplex_bytes password,
                               struct sx_public_cmd *out)
{
    (void)in;
    (void)password;
    if (!out->has_key)
        return SIMPLEX_E_ARG;
    out->cmd.key.key = out->key.pub;
    return SIMPLEX_OK;
}

static simplex_rc fill_rkey(const simplex_command *in, simplex_bytes password,
                            struct sx_public_cmd *out)
{
    (void)password;
    if (in->keys == NULL || in->n_keys == 0 || in->n_keys > SX_RKEYS_MAX)
        return SIMPLEX_E_ARG;
    for (size_t i = 0; i < in->n_keys; i++) {
        struct sx_pub key;
        simplex_rc rc = public_key(in->keys[i], &key);
        if (rc != SIMPLEX_OK)
            return rc;
        sx_wr_key(&out->rkeys, &key);
    }
    out->cmd.rkey.keys = sx_wr_bytes(&out->rkeys);
    out->cmd.rkey.count = (uint8_t)in->n_keys;
    return out->rkeys.bad ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
}

static simplex_rc fill_lset(const simplex_command *in, simplex_bytes password,
                            struct sx_public_cmd *out)
{
    (void)password;
    out->cmd.lset.link_id = in->link_id;
    out->cmd.lset.fixed = in->fixed_data;
    out->cmd.lset.user = in->user_data;
    return SIMPLEX_OK;
}

static simplex_rc fill_nkey(const simplex_command *in, simplex_bytes password,
                            struct sx_public_cmd *out)
{
    (void)password;
    simplex_rc rc = public_key(in->key, &out->cmd.nkey.auth);
    return rc == SIMPLEX_OK ? x25519_key(in->dh_key, &out->cmd.nkey.dh) : rc;
}

static simplex_rc fill_ack(const simplex_command *in, simplex_bytes password,
                           struct sx_public_cmd *out)
{
    (void)password;
    out->cmd.ack.msg_id = in->msg_id;
    return SIMPLEX_OK;
}

static simplex_rc fill_send(const simplex_command *in, simplex_bytes password,
                            struct sx_public_cmd *out)
{
    (void)password;
    out->cmd.send.body = in->body;
    out->cmd.send.notify = in->notify;
    return SIMPLEX_OK;
}

/* Whose they are the session knows: entity and key are filled in when it is there. */
static simplex_rc fill_subs(const simplex_command *in, simplex_bytes password,
                            struct sx_public_cmd *out)
{
    (void)password;
    if (in->count < 0 || out->has_key || in->ids_hash.len != sizeof(out->cmd.subs.hash))
        return SIMPLEX_E_ARG;
    out->cmd.subs.has_hash = true;
    out->cmd.subs.count = in->count;
    memcpy(out->cmd.subs.hash, in->ids_hash.ptr, sizeof(out->cmd.subs.hash));
    return SIMPLEX_OK;
}

static const struct {
    enum sx_cmd_tag tag;
    fill_fn *fill; /* NULL: no such command */
} rows[] = {
    [SIMPLEX_SMP_NEW] = { SX_NEW, fill_new },    [SIMPLEX_SMP_SUB] = { SX_SUB, no_params },
    [SIMPLEX_SMP_KEY] = { SX_KEY, fill_key },    [SIMPLEX_SMP_RKEY] = { SX_RKEY, fill_rkey },
    [SIMPLEX_SMP_LSET] = { SX_LSET, fill_lset }, [SIMPLEX_SMP_LDEL] = { SX_LDEL, no_params },
    [SIMPLEX_SMP_NKEY] = { SX_NKEY, fill_nkey }, [SIMPLEX_SMP_NDEL] = { SX_NDEL, no_params },
    [SIMPLEX_SMP_GET] = { SX_GET, no_params },   [SIMPLEX_SMP_ACK] = { SX_ACK, fill_ack },
    [SIMPLEX_SMP_OFF] = { SX_OFF, no_params },   [SIMPLEX_SMP_DEL] = { SX_DEL, no_params },
    [SIMPLEX_SMP_QUE] = { SX_QUE, no_params },   [SIMPLEX_SMP_SKEY] = { SX_SKEY, fill_own_key },
    [SIMPLEX_SMP_SEND] = { SX_SEND, fill_send }, [SIMPLEX_SMP_LKEY] = { SX_LKEY, fill_own_key },
    [SIMPLEX_SMP_LGET] = { SX_LGET, no_params }, [SIMPLEX_SMP_NSUB] = { SX_NSUB, no_params },
    [SIMPLEX_SMP_PING] = { SX_PING, no_params }, [SIMPLEX_SMP_SUBS] = { SX_SUBS, fill_subs },
    [SIMPLEX_SMP_NSUBS] = { SX_NSUBS, fill_subs },
};

static simplex_rc read_auth_key(simplex_bytes der, struct sx_public_cmd *out)
{
    struct sx_priv priv;

    if (der.len == 0)
        return SIMPLEX_OK;
    simplex_rc rc = sx_pkcs8_decode(der, &priv);
    if (rc == SIMPLEX_OK && priv.alg == SX_X448)
        rc = SIMPLEX_E_KEY;
    if (rc == SIMPLEX_OK)
        rc = sx_keypair_from_priv(&priv, &out->key);
    out->has_key = rc == SIMPLEX_OK;
    sx_wipe(&priv, sizeof(priv));
    return rc;
}

simplex_rc sx_public_command(const simplex_command *in, simplex_bytes password,
                             struct sx_public_cmd *out)
{
    memset(out, 0, sizeof(*out));
    sx_wr_init(&out->rkeys, SX_RKEYS_MAX * (SX_SPKI_MAX + 1));
    if (in->size < sizeof(*in) || in->command < 0 || (size_t)in->command >= SX_COUNT(rows) ||
        rows[in->command].fill == NULL)
        return SIMPLEX_E_ARG;
    if (in->entity.len > UINT8_MAX || in->link_id.len > UINT8_MAX || in->snd_id.len > UINT8_MAX ||
        in->msg_id.len > UINT8_MAX || (in->corr_id.len != 0 && in->corr_id.len != SX_ID_LEN))
        return SIMPLEX_E_ARG;
    out->cmd.tag = rows[in->command].tag;
    simplex_rc rc = read_auth_key(in->auth_key, out);
    return rc == SIMPLEX_OK ? rows[in->command].fill(in, password, out) : rc;
}

void sx_public_command_wipe(struct sx_public_cmd *c)
{
    sx_wr_free(&c->rkeys);
    sx_wipe(c, sizeof(*c));
}

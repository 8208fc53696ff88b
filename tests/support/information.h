/* SPDX-License-Identifier: Apache-2.0 */
/* What users may know of a server: what was given for it stands in the configuration. Header only.
 */
#ifndef TESTS_INFORMATION_H
#define TESTS_INFORMATION_H

#include "config.h"
#include "ini_template.h"
#include "support/vec.h"

static inline void assert_information(const struct sx_config *c, const struct sx_ini_options *given)
{
    const struct {
        const char *got, *wanted;
    } rows[] = {
        { c->info.source_code, given->source_code },
        { c->info.server_country, given->server_country },
        { c->info.operator_name, given->operator_name },
        { c->info.operator_country, given->operator_country },
        { c->info.website, given->website },
        { c->info.hosting, given->hosting },
        { c->info.hosting_country, given->hosting_country },
        { c->info.hosting_type, given->hosting_type },
    };

    for (size_t i = 0; i < SX_COUNT(rows); i++)
        assert_string_equal(rows[i].got, rows[i].wanted);
}

#endif

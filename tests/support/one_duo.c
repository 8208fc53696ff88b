/* SPDX-License-Identifier: Apache-2.0 */
#include "support/one_duo.h"

struct duo d;

int opened_duo(void **state)
{
    (void)state;
    duo_open(&d, NULL);
    return 0;
}

int connected_duo(void **state)
{
    (void)opened_duo(state);
    duo_connect(&d);
    return 0;
}

int close_duo(void **state)
{
    (void)state;
    duo_close(&d);
    return 0;
}

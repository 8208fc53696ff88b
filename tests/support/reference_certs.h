/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An Ed448 identity as the reference keeps it (protocol/smp.md section 10): written by the openssl
 * program with the fields that the reference asks it for. Keys of a test, used by no server.
 */
#ifndef TESTS_REFERENCE_CERTS_H
#define TESTS_REFERENCE_CERTS_H

static const char reference_ca_key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MEcCAQAwBQYDK2VxBDsEOVarWGbp0FS2E57D8TKqYdCHW7HPESNTCdgYkpBim+oV\n"
    "Pba3zHTjAiVL8eBzzWvcRB22d1uv1dGssQ==\n"
    "-----END PRIVATE KEY-----\n";
static const char reference_ca_crt[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBtjCCATagAwIBAgIUKaJSbKtg1wNd93JOq/LWBf/1w6MwBQYDK2VxMCoxFjAU\n"
    "BgNVBAMMDVNNUCBzZXJ2ZXIgQ0ExEDAOBgNVBAoMB1NpbXBsZVgwIBcNMjMwMTEw\n"
    "MDAwMDAwWhgPNDc2MDEyMDcwMDAwMDBaMCoxFjAUBgNVBAMMDVNNUCBzZXJ2ZXIg\n"
    "Q0ExEDAOBgNVBAoMB1NpbXBsZVgwQzAFBgMrZXEDOgDFfyoMakkFHvcd/wz59p5N\n"
    "d5TJ8rzpyX3Dq6OL4WV8MB62ZJxs+mRln2pIYJIViUFYLe30fvmQqQCjUzBRMB0G\n"
    "A1UdDgQWBBSbpxrjJ++8zuZ2JwHZ2JU05yKQzjAfBgNVHSMEGDAWgBSbpxrjJ++8\n"
    "zuZ2JwHZ2JU05yKQzjAPBgNVHRMBAf8EBTADAQH/MAUGAytlcQNzAIMt3T4YW3w/\n"
    "W5ZJ0sNEzsd1vqbCdYxanJecBEVUYmR1KSE8J4dzPvr14P+SjcrWuK8GQmdPyCP2\n"
    "AMyek9JjikUOLiBsZf51in7643vBr8yTW6T/y+vUxwy2gk+fQILqBeTFQo/Qe6kH\n"
    "083O72GeF8AZAA==\n"
    "-----END CERTIFICATE-----\n";
static const char reference_server_key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MEcCAQAwBQYDK2VxBDsEOUuBTF10H3AI6ljY/w4LrF+jVBKzuAZealszOvgUoDGP\n"
    "4PSCt3iD+dI1nZ7c10XWnsDC5VNPNNe6uw==\n"
    "-----END PRIVATE KEY-----\n";
static const char reference_server_crt[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBwjCCAUKgAwIBAgIUH/5+WMXCAy43pujMhz09Vy+mQuYwBQYDK2VxMCoxFjAU\n"
    "BgNVBAMMDVNNUCBzZXJ2ZXIgQ0ExEDAOBgNVBAoMB1NpbXBsZVgwIBcNMjMwMTEw\n"
    "MDAwMDAwWhgPNDc2MDEyMDcwMDAwMDBaMBoxGDAWBgNVBAMMD3NtcC5leGFtcGxl\n"
    "Lm9yZzBDMAUGAytlcQM6AA0MQbJ+/prq5FCZuwIP3Di9EWPIRoNoRlr4OMN8Cebt\n"
    "qkLOPMrL61WnpySpWtXzT22pyEcr21ILAKNvMG0wCQYDVR0TBAIwADALBgNVHQ8E\n"
    "BAMCA8gwEwYDVR0lBAwwCgYIKwYBBQUHAwEwHQYDVR0OBBYEFK8oZQDQk4XkdNcX\n"
    "FfC/EYVC9j6hMB8GA1UdIwQYMBaAFJunGuMn77zO5nYnAdnYlTTnIpDOMAUGAytl\n"
    "cQNzACliZBG7I25HBW6IbLgIVjJZkCzv4xTMpKa4kMo3z7emao0lPI/OR8b6Sp+1\n"
    "x3HAOxsOvOrSGrP7gOjp1VnIeQGtMkcSsfIbw8Ro/Ju8SfAUEjtMb/vA/HghYCmC\n"
    "XBD5hplaqv1Uiecqx9A0YOd9LjAhAA==\n"
    "-----END CERTIFICATE-----\n";
static const char reference_fingerprint[] = "4GRew_mCaKOS6bZcmmLXY0SmS5Ygy85kkg1PddI6vyU=\n";

#endif

/*
 * Networks; see nets.h. Addresses are compared as 16 octets, IPv4 as IPv4-mapped IPv6.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "auth/nets.h"
#include "base/conf.h"

struct net {
    uint8_t octets[16];
    unsigned bits;
};

/* False if it's no address; bits are 128 then all count. */
static bool
parse_address(const char *text, struct net *net)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct in_addr v4;

    net->bits = 128;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        memcpy(net->octets, mapped, sizeof mapped);
        memcpy(net->octets + sizeof mapped, &v4, sizeof v4);
        return true;
    }
    return inet_pton(AF_INET6, text, net->octets) == 1;
}

static bool
is_v4(const struct net *net)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(net->octets, mapped, sizeof mapped) == 0;
}

bool
net_key(const char *address, char out[NET_KEY_SIZE])
{
    struct net net;

    if (!parse_address(address, &net))
        return false;
    if (!is_v4(&net))
        memset(net.octets + 8, 0, 8);
    return inet_ntop(AF_INET6, net.octets, out, NET_KEY_SIZE) != NULL;
}

/* Digits of a prefix length, at most `max`. */
static bool
parse_bits(const char *s, unsigned max, unsigned *out)
{
    unsigned n = 0;
    size_t digits = strspn(s, "0123456789");

    if (digits == 0 || digits > 3 || s[digits] != '\0')
        return false;
    for (; *s != '\0'; s++)
        n = n * 10 + (unsigned)(*s - '0');
    *out = n;
    return n <= max;
}

static bool
parse_net(const char *item, size_t len, struct net *net)
{
    char text[80];
    char *slash;
    unsigned bits;
    bool v4;

    if (len >= sizeof text)
        return false;
    memcpy(text, item, len);
    text[len] = '\0';
    slash = strchr(text, '/');
    if (slash != NULL)
        *slash = '\0';
    if (!parse_address(text, net))
        return false;
    if (slash == NULL)
        return true;
    v4 = strchr(text, ':') == NULL;
    if (!parse_bits(slash + 1, v4 ? 32 : 128, &bits))
        return false;
    net->bits = v4 ? bits + 96 : bits;
    return true;
}

static bool
same_net(const struct net *net, const struct net *address)
{
    size_t whole = net->bits / 8;
    unsigned rest = net->bits % 8;

    if (memcmp(net->octets, address->octets, whole) != 0)
        return false;
    return rest == 0 || (net->octets[whole] ^ address->octets[whole]) >> (8 - rest) == 0;
}

bool
net_list_has(const char *list, const char *address)
{
    struct net net, ours;
    bool known = parse_address(address, &ours);
    const char *item;
    size_t len;

    while ((item = conf_list_next(&list, &len)) != NULL) {
        if (!known) {
            if (len == strlen(address) && memcmp(item, address, len) == 0)
                return true;
        } else if (parse_net(item, len, &net) && same_net(&net, &ours)) {
            return true;
        }
    }
    return false;
}

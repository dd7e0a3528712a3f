/*
 * Client addresses: networks for penalties and for allow_nets in the users file.
 */
#ifndef AUTH_NETS_H
#define AUTH_NETS_H

#include <stdbool.h>
#include <stddef.h>

#define NET_KEY_SIZE 64

/* The network that counts as one place: an IPv4 address whole, the /64 of an IPv6 one (RFC 4291
   2.5.4), IPv4-mapped as IPv4. False for what is no address ("local"). */
bool net_key(const char *address, char out[NET_KEY_SIZE]);

/* Is the address in a list of networks, such as "192.0.2.0/24,2001:db8::/32,local"? An item
   that can't be read holds nobody. */
bool net_list_has(const char *list, const char *address);

#endif

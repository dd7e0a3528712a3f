/*
 * Address lists (RFC 5322 3.4 with the obsolete forms of 4.4) in the form of an envelope.
 */
#ifndef FORMAT_ADDRESS_H
#define FORMAT_ADDRESS_H

#include <stddef.h>

#include "base/buf.h"

/*
 * Writes each address of a field's value as "(name route mailbox host)" (RFC 3501 7.4.2),
 * groups with their markers: host NIL, and mailbox the name at the start, NIL at the end. At
 * most *left of them; *left is counted down. Nothing is written for an empty list.
 */
void address_write_list(const char *value, size_t len, unsigned *left, struct buf *out);

#endif

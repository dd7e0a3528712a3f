/*
 * Rules for names that a client gives and that end up in paths.
 */
#ifndef FORMAT_RULES_H
#define FORMAT_RULES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define USER_NAME_MAX 255

/* 1 to 255 octets of valid UTF-8 without control characters, '/', NUL, leading dot; no "..".
   Folded to lower case (libunistring) and NFC if `lower`. 0 or ERR_CANNOT. `domain` ("" = none)
   is added to a name without '@'. Both sides of an '@' must be usable as a directory's name:
   not empty, no leading dot. *out is emptied first. */
int user_name_check(const char *name, size_t len, bool lower, const char *domain,
                    struct buf *out);

#endif

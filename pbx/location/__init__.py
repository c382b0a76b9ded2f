"""Where a caller is: what phones and networks say of it (RFC 6442, 4119, 5491, 5139), read and weighed."""

"""The HTTP API and the console page.

in → out: request → `auth` (who?) → handler (`commands`, `evidence`, `feed`, `page`) → `Exchange` → JSON. Every answer a
person may read stands in Chinese and English: `{"error": {"code", "zh", "en"}}`.

Not done here: roles (one token, one right), WebSocket, TLS.
"""

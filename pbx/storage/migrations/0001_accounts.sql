-- Who may register. HA1 (RFC 7616 §3.4.2), never a password.
CREATE TABLE accounts (
    username    text NOT NULL,
    realm       text NOT NULL,
    role        text NOT NULL CHECK (role IN ('dispatcher', 'caller')),
    name        text,
    verified    boolean NOT NULL DEFAULT false,
    ha1_sha256  text NOT NULL CHECK (ha1_sha256 ~ '^[0-9a-f]{64}$'),
    ha1_md5     text NOT NULL CHECK (ha1_md5 ~ '^[0-9a-f]{32}$'),
    origin      text NOT NULL,          -- 'demo': follows credentials.json; anything else: only changed by people
    enabled     boolean NOT NULL DEFAULT true,
    created_at  timestamptz NOT NULL DEFAULT now(),
    changed_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (realm, username)
);

-- What an account may do beside its own work; settings name the first ones. Whoever is not here may nothing more.
CREATE TABLE roles (
    realm       text NOT NULL,
    username    text NOT NULL,
    role        text NOT NULL CHECK (role IN ('supervisor', 'auditor', 'admin')),
    PRIMARY KEY (realm, username, role),
    FOREIGN KEY (realm, username) REFERENCES accounts (realm, username) ON DELETE CASCADE
);

-- Every change, also one made by hand in SQL: a trigger writes it, and nobody can change or remove it by a statement.
CREATE TABLE role_changes (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    realm       text NOT NULL,
    username    text NOT NULL,
    role        text NOT NULL,
    act         text NOT NULL CHECK (act IN ('grant', 'revoke')),
    changed_by  text NOT NULL
);

CREATE FUNCTION note_role_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    who text := coalesce(nullif(current_setting('at110.by', true), ''), 'sql:' || session_user);
BEGIN
    IF TG_OP IN ('DELETE', 'UPDATE') THEN
        INSERT INTO role_changes (realm, username, role, act, changed_by)
        VALUES (OLD.realm, OLD.username, OLD.role, 'revoke', who);
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        INSERT INTO role_changes (realm, username, role, act, changed_by)
        VALUES (NEW.realm, NEW.username, NEW.role, 'grant', who);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER role_noted AFTER INSERT OR UPDATE OR DELETE ON roles
    FOR EACH ROW EXECUTE FUNCTION note_role_change();

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'role_changes is only ever added to';
END $$;
CREATE TRIGGER role_changes_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON role_changes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

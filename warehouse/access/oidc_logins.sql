-- name: add
insert into control.oidc_logins (state_hash, nonce, code_verifier, redirect_uri, expires_at)
values (%(state_hash)s, %(nonce)s, %(code_verifier)s, %(redirect_uri)s, %(expires_at)s)

-- name: remove_ended
delete from control.oidc_logins where expires_at < now()

-- name: take
delete from control.oidc_logins where state_hash = %(state_hash)s and expires_at > now()
returning nonce, code_verifier, redirect_uri

-- name: listen
listen control_changed

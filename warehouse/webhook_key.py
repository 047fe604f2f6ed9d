"""`python -m warehouse.webhook_key < pepper`: the value of ORCHESTRATION_WEBHOOK_KEY for a router with this pepper.

For installations that set their variables themselves. The pepper comes on standard input: arguments are seen by everybody.
"""

import sys

from warehouse.identity.webhooks import webhook_key


def main() -> int:
    """Print the key as 64 hexadecimal digits; 1 if there is no pepper."""
    pepper = sys.stdin.read().strip()
    if not pepper:
        sys.stderr.write("settings_error: write the value of ROUTER_KEY_PEPPER to standard input\n")
        return 1
    sys.stdout.write(webhook_key(pepper.encode()).hex() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

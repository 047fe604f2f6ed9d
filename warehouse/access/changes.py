"""Changes of keys, rules and the catalogue, as the database announces them."""

from psycopg import AsyncConnection

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


async def listen(conn: AsyncConnection) -> None:
    """From now on the connection is notified of each, with the table's name, or `table:value` of the row it is about."""
    await conn.execute(QUERIES["listen"])

"""The second pricing engine over the warehouse: a month read in parts, compared with dbt's lines, priced anew."""

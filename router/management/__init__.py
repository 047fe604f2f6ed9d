"""The management API, in the shapes of the OpenAI organization API."""

# -- imports: all that porting changes ------------------------------------------------------------------------------
from milepost import (
    BaseStore,
    CachePolicy,
    Command,
    InMemoryCache,
    InMemorySaver,
    InMemoryStore,
    Interrupt,
    RetryPolicy,
    RunnableConfig,
    Runtime,
    StreamWriter,
    TimeoutPolicy,
    entrypoint,
    get_config,
    get_runtime,
    get_store,
    get_stream_writer,
    interrupt,
    task,
)

# -- end of the imports ---------------------------------------------------------------------------------------------

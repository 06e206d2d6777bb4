// Adds a header to responses, and logs on every tick. Its root id is `greeter`, its configuration the header's value.
export * from "@solo-io/proxy-runtime/proxy";
import {
  Context,
  FilterHeadersStatusValues,
  LogLevelValues,
  RootContext,
  log,
  registerRootContext,
  stream_context,
} from "@solo-io/proxy-runtime";
import { set_tick_period_milliseconds } from "@solo-io/proxy-runtime/runtime";

class Root extends RootContext {
  createContext(context_id: u32): Context {
    return new Stream(context_id, this);
  }

  onConfigure(size: u32): bool {
    set_tick_period_milliseconds(1000);
    return super.onConfigure(size);
  }

  onTick(): void {
    log(LogLevelValues.info, "a tick in AssemblyScript");
  }
}

class Stream extends Context {
  constructor(context_id: u32, root_context: Root) {
    super(context_id, root_context);
  }

  onResponseHeaders(_count: u32, _end: bool): FilterHeadersStatusValues {
    stream_context.headers.response.add("x-assemblyscript", this.root_context.getConfiguration());
    return FilterHeadersStatusValues.Continue;
  }
}

registerRootContext((context_id: u32) => { return new Root(context_id); }, "greeter");

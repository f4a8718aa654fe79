// Search where pages are opened from disk: browsers start no workers there, so the worker's script runs in a
// hidden frame, and messages go to and fro between the page and that frame.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = "<!doctype html><body></body>";
      frame.addEventListener("load", () => {
        const inside = frame.contentWindow;
        const load = (address) => new Promise((done, failed) => {
          const script = inside.document.createElement("script");
          script.src = address;
          script.onload = done;
          script.onerror = failed;
          inside.document.body.append(script);
        });
        inside.importScripts = (...addresses) => addresses.reduce(
          (before, address) => before.then(() => load(address)), Promise.resolve());
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        load(new URL(url, document.baseURI).href).then(() => {
          this.inside = inside;
          for (const data of this.waiting) this.deliver(data);
        });
      }, { once: true });
      const add = () => document.body.append(frame);
      if (document.body) add(); else document.addEventListener("DOMContentLoaded", add);
    }
    postMessage(data) {
      if (this.inside) this.deliver(data); else this.waiting.push(data);
    }
    deliver(data) {
      this.inside.dispatchEvent(new this.inside.MessageEvent("message", { data }));
    }
    terminate() {}
  };
}

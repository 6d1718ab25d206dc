/** One address before several processes, as a cluster's Service is: each connection goes to one of those that are ready. Or an edge to cut. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export class ServiceAddress {
  private readonly sockets = new Set<Socket>();
  private turn = 0;
  private isCut = false;

  private constructor(
    private readonly server: Server,
    /** `host:port`, by turns; those that leave keep the connections that they have. */
    public targets: readonly string[],
  ) {}

  static async open(targets: readonly string[] = []): Promise<ServiceAddress> {
    const server = createServer((socket) => address.lead(socket));
    const address: ServiceAddress = new ServiceAddress(server, targets);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return address;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Ends every connection and takes no more until `heal`. */
  cut(): void {
    this.isCut = true;
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  heal(): void {
    this.isCut = false;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private lead(socket: Socket): void {
    const target = this.targets[(this.turn += 1) % Math.max(1, this.targets.length)];
    if (this.isCut || target === undefined) return void socket.resetAndDestroy();
    const [host, port] = target.split(':');
    const upstream = connect({ host: host!, port: Number(port), noDelay: true });
    socket.setNoDelay(true);
    for (const end of [socket, upstream]) {
      this.sockets.add(end);
      end.on('error', () => undefined);
      end.once('close', () => {
        this.sockets.delete(end);
        [socket, upstream].forEach((other) => other.destroy());
      });
    }
    socket.pipe(upstream).pipe(socket);
  }
}

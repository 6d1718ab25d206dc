import { Body, Controller, HttpCode, Param, Post, Req } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiTags } from '@nestjs/swagger';
import { validated } from '@studio/shared/contract/validated';
import { ValidatorSessionRequest, type ValidatorSession } from '@studio/shared/contract/validator-session';
import { MinerStore } from './miner.store';
import { RequestSignatures, type SignedRequest } from './request-signature';
import { ValidatorSessions } from './validator-session';

/** The way into the fast door: a hotkey's signature for a token of NATS. */
@ApiTags('scores')
@Controller('v1/validators')
export class ValidatorSessionController {
  constructor(
    private readonly sessions: ValidatorSessions,
    private readonly signatures: RequestSignatures,
    private readonly nonces: MinerStore,
  ) {}

  @Post(':hotkey/session')
  @HttpCode(200)
  @ApiOperation({
    summary:
      'A short-lived token to listen to the score events on NATS; signed by its hotkey (native form or Epistula)',
  })
  @ApiBody({ type: ValidatorSessionRequest })
  async open(
    @Param('hotkey') hotkey: string,
    @Body() body: unknown,
    @Req() request: SignedRequest,
  ): Promise<ValidatorSession> {
    await this.sessions.admit(hotkey);
    const signer = await this.signatures.requireSigner(request, hotkey);
    // Not by the pipe: a stranger's body is worth no work before its signature is.
    const wanted = validated(ValidatorSessionRequest, body);
    this.sessions.count(hotkey);
    await this.nonces.useNonce(signer);
    return this.sessions.open(hotkey, wanted);
  }
}

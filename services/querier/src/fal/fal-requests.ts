/** What fal's LoRA apps take, by their names. Fields that they have and we do not are dropped, as fal drops unknown ones. */
import 'reflect-metadata';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsBoolean,
  IsIn,
  IsInt,
  IsNumber,
  IsOptional,
  IsString,
  Max,
  MaxLength,
  Min,
  MinLength,
  ValidateNested,
} from 'class-validator';
import { MAX_IMAGE_URL_LENGTH, MAX_PROMPT_LENGTH, MAX_SEED } from '@studio/shared/contract/submit-job';

export class FalTraining {
  /** One photograph: a data URI, or the URL that uploading it gave. */
  @IsString()
  @MinLength(1)
  @MaxLength(MAX_IMAGE_URL_LENGTH)
  images_data_url!: string;

  @IsOptional()
  @IsString()
  @MaxLength(MAX_PROMPT_LENGTH)
  trigger_word?: string;

  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(10_000)
  steps?: number;

  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(MAX_SEED)
  seed?: number;
}

export class FalLora {
  /** The URL of a LoRA that a training gave, or that uploading one gave. */
  @IsString()
  @MinLength(1)
  @MaxLength(2_048)
  path!: string;

  @IsOptional()
  @IsNumber({ allowNaN: false, allowInfinity: false })
  @Min(0)
  @Max(2)
  scale?: number;
}

export class FalInference {
  @IsString()
  @MaxLength(MAX_PROMPT_LENGTH)
  prompt!: string;

  /** A name of `IMAGE_SIZES`, or width and height. */
  @IsOptional()
  image_size?: unknown;

  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(4)
  num_images?: number;

  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(MAX_SEED)
  seed?: number;

  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(1)
  @ValidateNested({ each: true })
  @Type(() => FalLora)
  loras!: FalLora[];

  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(50)
  num_inference_steps?: number;

  @IsOptional()
  @IsNumber({ allowNaN: false, allowInfinity: false })
  @Min(0)
  @Max(35)
  guidance_scale?: number;

  @IsOptional()
  @IsIn(['jpeg', 'png'])
  output_format?: 'jpeg' | 'png';

  @IsOptional()
  @IsBoolean()
  sync_mode?: boolean;
}

export class FalSize {
  @IsInt()
  width!: number;

  @IsInt()
  height!: number;
}
